"""The forms for issues are what GitHub accepts, and ask for what a report needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from places import CHECKOUT

FORMS = sorted((CHECKOUT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
KINDS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def forms() -> list[Path]:
    return [path for path in FORMS if path.name != "config.yml"]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_there_is_a_form_for_each_purpose() -> None:
    assert {path.stem for path in forms()} == {"bug", "wrong-answer", "new-backend"}


@pytest.mark.parametrize("path", forms(), ids=lambda path: path.stem)
def test_a_form_is_one_that_github_accepts(path: Path) -> None:
    form = read(path)
    assert form.keys() <= {"name", "description", "title", "labels", "assignees", "projects", "body"}
    assert form["name"] and form["description"] and form["body"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert {field["type"] for field in form["body"]} <= KINDS and len(set(ids)) == len(ids)
    assert [field["id"] for field in fields if not field["attributes"].get("label")] == []
    assert [
        field for field in form["body"] if field["type"] == "markdown" and not field["attributes"].get("value")
    ] == []
    for field in fields:
        if field["type"] in ("dropdown", "checkboxes"):
            assert field["attributes"]["options"]


@pytest.mark.parametrize("path", forms(), ids=lambda path: path.stem)
def test_a_form_asks_for_what_version_prints(path: Path) -> None:
    [field] = [field for field in read(path)["body"] if field.get("id") == "version"]
    assert "`convbench --version`" in field["attributes"]["label"] and field["attributes"]["render"] == "text"
