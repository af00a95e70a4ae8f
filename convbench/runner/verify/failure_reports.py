"""Reports of failures: Markdown files beside the journals, named by their cause and never overwritten."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from convbench.errors import ResultsError
from convbench.files.user_file import FileKind, read_text

_LONGEST_NAME = 160
_KIND = FileKind("the report of a failure", 4 * 2**20, "give one that convbench verify wrote", ResultsError)


def keep_report(folder: Path, cause: str, text: str) -> Path:
    """Write the report of a cause, such as "torch n1c1h2w2_o1k2_bf16 exact"; gives its file.

    A file that has this very report is left as it is. Another report of the same cause, such as one of another release,
    gets a number. Raises `ResultsError` when it cannot be written.
    """
    content = text.encode("utf-8", "backslashreplace")
    stem, number = _stem(cause), 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                if path.is_file() and path.read_bytes() == content:
                    return path
                number += 1
            else:
                return path
    except OSError as error:
        raise ResultsError(f"the report in {folder} cannot be written: {error.strerror or error}.") from None


def report_text(results: Path, name: str) -> str | None:
    """The report that a file of this name holds, of any machine in the results folder; None without one."""
    places = sorted(results.glob("*/failures")) if results.is_dir() else []
    for path in (place / name for place in places):
        try:
            return read_text(path, _KIND)
        except (ResultsError, OSError):
            continue
    return None


def _stem(cause: str) -> str:
    """A file's name that any system takes."""
    stem = re.sub(r"[^A-Za-z0-9._@+-]+", "-", cause).strip("-")
    return stem if len(stem) <= _LONGEST_NAME else f"{stem[:_LONGEST_NAME]}-{zlib.crc32(cause.encode()):08x}"
