"""docs/commands.md is made from the commands and current."""

from __future__ import annotations

from places import DOCS

from convbench.cli.reference import reference


def test_the_command_list_is_current() -> None:
    written = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m convbench.cli.reference"
