"""Text made fit for where it is shown: what cannot be seen is made visible, what cannot be written has an equivalent.

Names and messages come from files, backends and other machines. A terminal obeys the escape codes in them, and a bidi
control makes one name look like another. Some outputs take few characters: a pipe on Windows, or `LC_ALL=C`.
"""

from __future__ import annotations

import codecs
import json
import re
import textwrap
from typing import TextIO

_HANDLER = "convbench.equivalent"
_EQUIVALENTS = {
    **dict.fromkeys("‐‑‒–—−─━╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉", "---====", strict=True)),
    **dict(zip("…×±→≥≤≈µμ•", "... x +- -> >= <= ~ u u *".split(), strict=True)),
    **dict.fromkeys("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "*"),
}
"""By character what stands for it where the output lacks it; other characters are written as Python writes them."""


def printable(text: str, keep: str = "") -> str:
    """`text` with characters that cannot be seen, such as a terminal's escape codes, written as Python writes them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _as_python_writes(c) for c in text)


def wrapped(text: str, width: int | None) -> str:
    """`text` with lines that are wider than `width` broken between words; as it is without a width."""
    if width is None:
        return text
    parts = (_lines(line, width) if len(line) > width else [line] for line in text.split("\n"))
    return "\n".join(line for lines in parts for line in lines)


def _lines(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def fitted(text: str, encoding: str, keep: str = "") -> list[str]:
    """What is shown of each character of `text`: printable but for those in `keep`, and equivalents for what `encoding`
    lacks."""
    parts = [printable(c, keep) if _takes(c, encoding) else _equivalent(c) for c in text]
    for match in re.finditer(" … ", text):
        start, middle, end = range(*match.span())
        if parts[middle] != "…":  # three points with no blanks around them are as wide
            parts[start] = parts[end] = ""
    return parts


def fits(text: str, encoding: str) -> bool:
    """Whether all of `text` can be seen and written as it is."""
    return text.isprintable() and _takes(text, encoding)


def json_line(value: object, encoding: str) -> str:
    """`value` as JSON on one line, with JSON's own escapes for what cannot be seen or written."""
    line = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if fits(line, encoding):
        return line
    return "".join(c if fits(c, encoding) else json.dumps(c)[1:-1] for c in line)


def write_equivalents(stream: TextIO) -> None:
    """Let `stream` write equivalents for what its encoding lacks, where it else would raise `UnicodeEncodeError`."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=_HANDLER)


def _takes(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _equivalent(character: str) -> str:
    return _EQUIVALENTS.get(character) or _as_python_writes(character)


def _as_python_writes(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _write_equivalent(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):  # a stream that is read as well, by whoever captures what is written
        return "\N{REPLACEMENT CHARACTER}", error.end
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_equivalent, error.object[error.start : error.end])), error.end


codecs.register_error(_HANDLER, _write_equivalent)
