"""Notebooks, executed by a kernel in a folder of its own, and what tells whether the outputs that one keeps are old."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

STATE = "convbench"
"""The name of this module's part of a notebook's metadata."""


def read(path: Path) -> Any:
    """The notebook at `path`."""
    return nbformat.read(path, as_version=4)


def execute(notebook: Any, folder: Path) -> Any:
    """A copy of the notebook, executed in `folder`, with the outputs of its cells. Raises `CellExecutionError` of
    nbclient for a cell that raises."""
    copy = nbformat.from_dict(notebook)
    home = str(folder / "home")
    Path(home).mkdir()
    environment = {
        **os.environ,
        "HOME": home,
        "XDG_DATA_HOME": home,
        "XDG_CACHE_HOME": home,
        "CONVBENCH_MACHINE": "here",
    }
    client = NotebookClient(copy, timeout=900, startup_timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    for cell in copy.cells:
        cell.metadata.pop("execution", None)  # when each ran
    copy.metadata["language_info"] = {"name": "python"}  # and not which version it was
    copy.metadata[STATE] = {"sources": digest(copy)}
    return copy


def digest(notebook: Any) -> str:
    """What changes with the code of the notebook."""
    sources = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def kinds(cell: Any) -> list[list[str]]:
    """What kinds of output a cell has: the MIME types of each, or the name of a stream."""
    return [sorted(output["data"]) if "data" in output else [output["name"]] for output in cell.get("outputs", [])]


def text(cell: Any) -> str:
    """The plain text of a cell's outputs."""
    return "".join(output["data"]["text/plain"] if "data" in output else output["text"] for output in cell.outputs)
