"""The graph in an archive that `torch.export.save` wrote.

`torch.export.load` unpickles sample inputs and constants, which may run any code. The graph is JSON beside them, with
all shapes. So only the graph is read, without torch.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from convbench.errors import ModelError
from convbench.extraction.file_kinds import PROGRAM, check_is_model
from convbench.files.user_file import opened

# In archives of torch from 2.8 on, and before. There may be several programs in one archive.
_GRAPH = re.compile(r"(?:[^/]+/)?(?:models/[^/]+\.json|serialized_exported_program\.json)")
_MOST_BYTES = 512 * 2**20  # of a graph, and of an archive's directory; weights are not part of them


def read_program(path: Path) -> Any:
    """The decoded JSON. Raises `ModelError`."""
    with opened(path, PROGRAM) as file:
        check_is_model(path, PROGRAM, file.read(200))
        try:
            with zipfile.ZipFile(_Bounded(file)) as archive:
                return json.loads(archive.read(_entry(path, archive)))
        except (zipfile.BadZipFile, zlib.error, ValueError, RecursionError, RuntimeError, EOFError) as error:
            raise ModelError(
                f"{path}: this cannot be read as an archive that torch.export.save wrote: {error}."
            ) from None


class _Bounded(io.RawIOBase):
    """A file that gives no more than a graph at once: the size of an archive's directory is what its end says."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > _MOST_BYTES:
            raise zipfile.BadZipFile("its directory is larger than any")
        return self._file.read(size if size >= 0 else _MOST_BYTES)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _entry(path: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    entries = [entry for entry in archive.infolist() if _GRAPH.fullmatch(entry.filename)]
    if not entries:
        raise ModelError(f"{path}: there is no exported program in this archive; write it with torch.export.save.")
    entry = next((entry for entry in entries if entry.filename.endswith("models/model.json")), entries[0])
    if len(entries) > 1 and entry is entries[0] and not entry.filename.endswith("models/model.json"):
        names = ", ".join(Path(other.filename).stem for other in entries)
        raise ModelError(f"{path}: there are several programs in this archive, {names}; save the one that is wanted.")
    if entry.file_size > _MOST_BYTES:
        raise ModelError(f"{path}: its graph has {entry.file_size:,} bytes; at most are {_MOST_BYTES:,}.")
    return entry
