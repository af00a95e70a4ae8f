"""The convolutions of a run that a library logged: ONEDNN_VERBOSE=1, or MIOPEN_ENABLE_LOGGING_CMD=1.

A log is read line by line, as data. Lines that are of no convolution are passed over; those that are and cannot be read
are counted, by reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from convbench.errors import ModelError, ProblemError
from convbench.extraction.call_log import Layer, Reading
from convbench.files.user_file import FileKind, opened
from convbench.problem import ConvProblem

LOG = FileKind("a log", 16 * 2**30, "give one of ONEDNN_VERBOSE=1 or MIOPEN_ENABLE_LOGGING_CMD=1", ModelError)
SUFFIXES = (".log", ".txt")
_LONGEST_LINE, _MOST_DISTINCT, _MOST_REASONS = 1 << 14, 100_000, 10
_ONEDNN = re.compile(r"\b(?:onednn|dnnl|mkldnn)_verbose,(?P<fields>.*)")
_MIOPEN = re.compile(r"(?:\[(?P<command>\w+)\].*?)?(?P<line>MIOpenDriver\s+(?P<operation>\w+).*)")
_OTHER_KINDS = ("deconvolution",)
_JOINED = re.compile(r"post[-_]ops:'?(\w+)")


def read_log(path: Path) -> Reading:
    """The convolutions that ran, in the order of the lines. Raises `ModelError` for what is no such log."""
    problems: dict[str, ConvProblem | str] = {}
    runs: list[ConvProblem] = []
    left_out: Counter[str] = Counter()
    joined: Counter[str] = Counter()
    for text, with_it in _convolutions(path, left_out):
        if text not in problems:
            if len(problems) == _MOST_DISTINCT:
                raise LOG.refused(path, f"it has more than {_MOST_DISTINCT:,} different convolutions")
            problems[text] = _problem(text)
        problem = problems[text]
        if isinstance(problem, str):
            left_out[problem] += 1
        else:
            runs.append(problem)
            joined.update(with_it)
    if not runs and not left_out:
        raise LOG.refused(path, "there is no line of a convolution that ran")
    sentences = [_counted(what, count) for what, count in left_out.most_common(_MOST_REASONS)]
    if rest := sum(left_out.values()) - sum(count for _, count in left_out.most_common(_MOST_REASONS)):
        sentences.append(f"For other reasons: {rest} lines.")
    sentences += [f"What was joined to a convolution ({name}): {_times(count)}." for name, count in joined.items()]
    return Reading(tuple(Layer("", problem) for problem in runs), tuple(sentences), ())


def _problem(text: str) -> ConvProblem | str:
    try:
        return ConvProblem.parse(text)
    except ProblemError as error:
        return f"A line that is not read ({' '.join(str(error).split())[:200].rstrip('.')})"


def _counted(what: str, count: int) -> str:
    return f"{what}: {_times(count)}."


def _times(count: int) -> str:
    return {1: "runs once", 2: "runs twice"}.get(count, f"runs {count} times")


def _convolutions(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """A text for each convolution that ran, without its time, and what the library joined to it."""
    for line in _lines(path, left_out):
        if match := _ONEDNN.search(line):
            yield from _of_onednn(match["fields"].split(","), left_out)
        elif match := _MIOPEN.search(line):
            if (match["command"] or "").startswith("LogCmdFind"):  # the search for an algorithm, before it runs
                continue
            if match["operation"].startswith("conv"):
                yield match["line"].strip(), []


def _of_onednn(fields: list[str], left_out: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    if "exec" not in fields:  # made, or found in the cache
        return
    left_out.update(f"A {kind}, which is not torch's conv2d" for kind in _OTHER_KINDS if kind in fields)
    if "convolution" not in fields:
        return
    kept = [
        field for field in fields[fields.index("exec") : -1] if not field.startswith("attr") and "post" not in field
    ]
    joined = [match[1] for field in fields for match in _JOINED.finditer(field)]
    yield f"onednn_verbose,{','.join(kept)},0", joined


def _lines(path: Path, left_out: Counter[str]) -> Iterator[str]:
    """The lines as text, whatever bytes they have, without those that are longer than a convolution's can be."""
    with opened(path, LOG) as file:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
                left_out["A line of more than 16 KiB"] += 1
                while (rest := file.readline(_LONGEST_LINE)) and not rest.endswith(b"\n"):
                    pass
                continue
            yield line.decode(errors="replace")
