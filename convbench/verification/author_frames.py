"""Where a backend raised: the frames of its author's code in a traceback, without those of convbench around them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from traceback import FrameSummary

import convbench

_MOST_FRAMES, _LONGEST_MESSAGE = 8, 2000
_PACKAGE = Path(convbench.__file__).parent
_NUMBERS = re.compile(r"-?\d+(?:\s*[,x]\s*-?\d+)*")


def author_frames(error: BaseException) -> list[FrameSummary]:
    """The frames from the first one outside convbench on; none where convbench itself raised. Backends that come with
    convbench count as outside."""
    frames = traceback.extract_tb(error.__traceback__)
    first = next((number for number, frame in enumerate(frames) if not _is_ours(Path(frame.filename))), len(frames))
    return list(frames[first:])


def where_raised(frames: Sequence[FrameSummary]) -> str | None:
    """The innermost frame of the author's files, those that lie with the first one: "my_conv.py, line 12, in run"."""
    if not frames:
        return None
    folder = Path(frames[0].filename).parent
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name}"


def traceback_text(frames: Sequence[FrameSummary], error: BaseException) -> str:
    """As Python prints it; empty without frames. Of a long one the middle is left out."""
    if not frames:
        return ""
    shown, half = list(frames), _MOST_FRAMES // 2
    begin, end = (shown, []) if len(shown) <= _MOST_FRAMES else (shown[:half], shown[-half:])
    left_out = [f"  ... {len(shown) - _MOST_FRAMES} more ...\n"] if end else []
    lines = [*traceback.format_list(begin), *left_out, *traceback.format_list(end)]
    raised = "".join(traceback.format_exception_only(error))[:_LONGEST_MESSAGE]
    return "".join(["Traceback (most recent call last):\n", *lines, raised])


def mistake_of(where: str | None, reason: str) -> str:
    """What exceptions of one mistake have in common: the place, and the words without their numbers."""
    return f"{where}: {_NUMBERS.sub('#', reason)}"


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE) and not path.is_relative_to(_PACKAGE / "backends")
