"""The kinds of files that models are read from, and what is often found in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.files.user_file import FileKind

_GIB = 2**30
ONNX = FileKind("an ONNX model", 2 * _GIB, "give the path of an ONNX model", ModelError)  # protobuf's own limit
PROGRAM = FileKind("a program", 256 * _GIB, "give one that torch.export.save wrote", ModelError)
SOURCE = FileKind("a Python file", 16 * 2**20, "give it as FILE.py:callable", ModelError)

_IN_ITS_PLACE = (
    (b"version https://git-lfs.github.com/", "this is a Git LFS pointer, not the file itself; type: git lfs pull"),
    (b"<!doctype html", "this is a web page; download the file itself, on GitHub by the button called raw"),
    (b"<html", "this is a web page; download the file itself, on GitHub by the button called raw"),
    (b"\x1f\x8b", "this is compressed by gzip; type: gunzip"),
)


def is_onnx(model: Any) -> bool:
    """Whether a model is an ONNX file, which a runtime computes as a whole."""
    return isinstance(model, str) and model.lower().endswith(".onnx")


def check_is_model(path: Path, kind: FileKind, beginning: bytes) -> None:
    """Raise `ModelError` if a file begins as what tools leave in a model's place."""
    if not beginning:
        raise kind.refused(path, "this file is empty")
    for mark, fault in _IN_ITS_PLACE:
        if beginning.lstrip().lower().startswith(mark):
            raise ModelError(f"{path}: {fault}.")
    if beginning.startswith(b"PK\x03\x04") and kind is ONNX:
        raise kind.refused(path, "this is a ZIP archive; extract the model first")
