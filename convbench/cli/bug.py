"""Write a bug report for a library's project."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli import options


@click.command(short_help="Write a bug report for the library's own issue form.")
@click.argument("question", metavar="QUESTION|REPORT.md")
@click.option("--backend", metavar="NAME", help="The backend that answers wrongly; a report names its own.")
@click.option("--for", "library", metavar="LIBRARY", help="Whose form to fill in.  [default: the backend's own]")
@click.option("-o", "--output", type=options.PATH, metavar="FILE.md", help="Write the report to this file.")
@click.option(
    "--narrow/--no-narrow", default=True, help="Ask with other threads, layouts, instructions and backends, too."
)
@options.threads
@options.seconds("--time-limit", "Stop a backend that takes longer for one question.", default=40.0)
@options.plugins
@options.results
def bug(
    question: str,
    backend: str | None,
    library: str | None,
    output: Path | None,
    narrow: bool,
    threads: int,
    time_limit: float,
    plugins: tuple[Path, ...],
    results: Path | None,
) -> None:
    """Write a bug report about one wrong answer, under the headings of the library's own issue form.

    QUESTION is a convolution and words, as a failure of `verify` prints it; or give the report that `verify` wrote.
    It is asked anew, then under other circumstances, to see where it shows. The report has a program without
    convbench. The exit code is 3 when the answer is right here.
    """
    from convbench.reporting.console import stderr, stdout
    from convbench.reporting.verification.issue_text import issue_text
    from convbench.runner.bug.inquiry import Request, inquire
    from convbench.runner.bug.subject import subject

    request = Request(
        text=question,
        backend=backend,
        library=library,
        threads=threads,
        time_limit_s=time_limit,
        narrow=narrow,
        plugins=plugins,
        results=results,
    )
    console = stderr()
    with console.status("asking") as status:
        findings = inquire(request, subject(question, backend), lambda what: status.update(f"asking: {what}"))
    text = issue_text(findings)
    if output is None:
        stdout().print(text, markup=False, highlight=False, soft_wrap=True, end="")
    else:
        keep(output, text)
        console.print(f"The report is in {output}.", soft_wrap=True)
    if findings.form.url:
        console.print(f"{findings.form.project} takes reports at {findings.form.url}", soft_wrap=True, markup=False)


def keep(path: Path, text: str) -> None:
    """Write the report. Raises `OutputError` when that is not possible."""
    from convbench.errors import OutputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
