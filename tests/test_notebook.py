"""The notebook of the first hour: a kernel executes it, and the outputs that it keeps for the site are not old."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import notebooks
import pytest
from nbclient.exceptions import CellExecutionError
from places import DOCS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # some 30 s on a quiet machine

STORED = notebooks.read(DOCS / "notebooks" / "first-hour.ipynb")
REFRESH = "python evaluation/first_hour_notebook.py keeps the outputs of the notebook as it is now"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return notebooks.execute(STORED, tmp_path_factory.mktemp("notebook"))


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def cell_with(notebook: Any, words: str) -> Any:
    return next(cell for cell in cells(notebook) if words in cell.source)


def is_old(stored: Any, executed: Any) -> list[str]:
    """The cells whose kept outputs are of other kinds, or begin in other words, than those of today."""
    pairs = zip(cells(stored), cells(executed), strict=True)
    return [now.source for then, now in pairs if notebooks.kinds(then) != notebooks.kinds(now) or _began(then, now)]


def _began(then: Any, now: Any) -> bool:
    first, second = ((notebooks.text(cell).strip().splitlines() or [""])[0].split() for cell in (then, now))
    has_figures = any(character.isdigit() for word in first for character in word)  # which are others each time
    return not has_figures and first != second


def test_its_outputs_are_those_of_its_code(executed: Any) -> None:
    assert STORED.metadata[notebooks.STATE]["sources"] == notebooks.digest(STORED), REFRESH
    assert is_old(STORED, executed) == [], REFRESH


def test_it_shows_what_it_says(executed: Any) -> None:
    run, verified = cell_with(executed, "convbench.run("), cell_with(executed, "checked = ")
    assert "<figure" in run.outputs[0].data["text/html"] and "torch" in notebooks.text(run)
    assert "padded" in notebooks.text(verified) and "my-conv fails" in notebooks.text(verified)
    assert notebooks.text(cell_with(executed, "checked.failures")).startswith("# my-conv: conv2d gives a wrong result")
    assert "data:image/png" in cell_with(executed, "convbench.picture(").outputs[0].data["text/html"]
    assert "every answer was right" in notebooks.text(cell_with(executed, "mended = "))
    assert notebooks.text(cell_with(executed, "difference < ")) == "True"


def test_it_names_no_folder_of_the_machine_that_made_it() -> None:
    outputs = "".join(notebooks.text(cell) for cell in cells(STORED))
    assert (
        "/home/" not in outputs.replace("/first-hour-", "")
        and "/work" not in outputs
        and "site-packages" not in outputs
    )


def test_old_outputs_and_cells_that_raise_are_noticed(executed: Any, tmp_path: Path) -> None:
    other = copy.deepcopy(executed)
    assert is_old(other, executed) == []
    cell_with(other, "%%writefile").outputs[0]["text"] = "Overwriting my_conv.py\n"
    cell_with(other, "convbench.run(").outputs.clear()
    assert len(is_old(other, executed)) == 2
    cell_with(other, "convbench.run(").source += "\n"
    assert notebooks.digest(other) != notebooks.digest(executed)
    other.cells = [cells(other)[0]]
    other.cells[0].source = "1 / 0"
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        notebooks.execute(other, tmp_path)
