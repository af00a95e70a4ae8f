"""The text of a bug report, under the headings of a project's form, in Markdown."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

from convbench.errors import ProblemError
from convbench.problem.dialects import to_benchdnn
from convbench.runner.bug.inquiry import Circumstance, Findings
from convbench.status import Status
from convbench.verification.causes.report import in_words, quoted, title, what_happened
from convbench.verification.causes.repro_script import repro_script
from convbench.verification.oracle import oracle_for

_KINDS = {
    "threads": "threads",
    "layout": "layout of the NumPy arrays that the program begins with",
    "instructions": "instructions",
    "backend": "way to call it",
}


def issue_text(findings: Findings) -> str:
    """The title as a heading, then each section of the form."""
    sections = [f"# {title(findings.failure)}"]
    for heading, parts in findings.form.sections.items():
        texts = [text for part in parts if (text := _PARTS[part](findings))]
        sections += [f"### {heading}", *texts] if texts else []
    return "\n\n".join(sections) + "\n"


def _summary(findings: Findings) -> str:
    kernel = f"Kernel: `{findings.failure.kernel}`." if findings.failure.kernel else ""
    called = f"Called as: {findings.entry.backend.summary}." if findings.entry.backend.summary else ""
    parts = [in_words(findings.failure.question), called, findings.since, kernel, findings.shared]
    return "\n\n".join(filter(None, parts))


def _program(findings: Findings) -> str:
    failure = findings.failure
    parts = []
    if findings.form.native is not None:
        native = _native(findings) if failure.question.problem.direction == "forward" else None
        parts += [_code(findings.form.native_language, native)] if native else []
        with contextlib.suppress(ProblemError):
            parts.append(
                f"As benchdnn is asked:\n\n{_code('sh', f'./benchdnn {to_benchdnn(failure.question.problem)}')}"
            )
    script = repro_script(failure, findings.entry.backend)
    parts += [_code("python", script)] if script else []
    parts.append(f"With convbench, which found it:\n\n{_code('sh', findings.command)}")
    return "\n\n".join(parts)


def _native(findings: Findings) -> str | None:
    """The program in the project's own language, where it has one for this problem."""
    question, form = findings.failure.question, findings.form
    operands, problem = oracle_for(question, findings.entry.backend.arithmetic).operands, question.problem
    if problem.epilogue is not None:
        fused = form.native_fused
        return None if fused is None else fused(problem, operands.x, operands.w, operands.b, operands.r)
    if problem.quantization is None:
        return None if form.native is None else form.native(problem, operands.x, operands.w, operands.b)
    if form.native_quantized is None:
        return None
    return form.native_quantized(problem, operands.x, operands.w, operands.b, operands.scales)


def _observed(findings: Findings) -> str:
    """Without the frames of the backend, which the project does not know: there is a program."""
    failure = findings.failure
    return what_happened(replace(failure, reason=_without_folders(failure.reason), traceback=""))


def _without_folders(text: str) -> str:
    """`text` without the folders of this machine that stand before installed files and temporary ones."""
    return re.sub(r"/\S*?/(?=site-packages/)|/\S*?/convbench-run-\w+/", "", text)


def _expected(findings: Findings) -> str:
    failure = findings.failure
    if failure.status is not Status.WRONG:
        return "Expected: an answer."
    if failure.expected is None:
        return "Expected: what the definition of the convolution gives."
    where = f" at {list(failure.element)}" if failure.element is not None else ""
    return f"Expected: `{_number(failure.expected)}`{where}, by the definition of the convolution in float64."


def _number(value: float) -> str:
    """Whole numbers as such, others with the digits that tell float64 numbers apart."""
    return f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 else repr(value)


def _where_it_shows(findings: Findings) -> str:
    if not findings.circumstances:
        return ""
    rows = ["| | shows | does not show |", "|---|---|---|"]
    for kind, heading in _KINDS.items():
        of_kind = [each for each in findings.circumstances if each.kind == kind]
        if any(each.shows is not None for each in of_kind):
            rows.append(f"| {heading} | {_values(of_kind, True)} | {_values(of_kind, False)} |")
    return "\n".join([*rows, *_refusals(findings.circumstances)])


def _values(circumstances: list[Circumstance], shows: bool) -> str:
    return ", ".join(_value(each) for each in circumstances if each.shows is shows) or "none"


def _value(circumstance: Circumstance) -> str:
    return f"{circumstance.value} ({circumstance.words})" if circumstance.words else circumstance.value


def _refusals(circumstances: tuple[Circumstance, ...]) -> Iterator[str]:
    refused = [each for each in circumstances if each.shows is None]
    if refused:
        names = "; ".join(f"{each.kind} {each.value} ({_without_folders(each.reason)})" for each in refused)
        yield f"\nCould not be asked: {names}."


def _environment(findings: Findings) -> str:
    return quoted(findings.environment, longest=20_000) if findings.environment else _versions(findings)


def _versions(findings: Findings) -> str:
    return ", ".join(f"{name} {version}" for name, version in findings.versions.items())


def _platform(findings: Findings) -> str:
    return findings.platform


def _code(language: str, text: str) -> str:
    """`text` in a block that nothing in it can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


_PARTS = {
    "summary": _summary,
    "program": _program,
    "observed": _observed,
    "expected": _expected,
    "where it shows": _where_it_shows,
    "environment": _environment,
    "versions": _versions,
    "platform": _platform,
}
