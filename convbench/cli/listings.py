"""What is here: backends, suites, this machine, a problem in every dialect, and the convolutions of a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="List the backends: which can run here, and why others cannot.")
@options.plugins
@options.json_lines
def backends(plugins: tuple[Path, ...], as_json: bool) -> None:
    """List the backends with their versions: which can run here, and why others cannot."""
    from convbench.registry import discover
    from convbench.reporting.console import show
    from convbench.reporting.listings import backend_row, backends_report

    rows = [backend_row(entry) for entry in discover(plugins).rows]
    show(backends_report(rows), rows, as_json=as_json)


@click.command(short_help="List the suites that come with convbench.")
@options.json_lines
def suites(as_json: bool) -> None:
    """List the suites that come with convbench."""
    from convbench.reporting.console import show
    from convbench.reporting.listings import suite_row, suites_report
    from convbench.suite import builtin_suites

    show(suites_report(), map(suite_row, builtin_suites()) if as_json else (), as_json=as_json)


@click.command(short_help="Show what is known of this machine, and its limits.")
@click.option("--measure", is_flag=True, help="Measure the ceilings, in about half a minute, and keep them.")
@click.option(
    "--threads",
    type=options.numbers,
    metavar="N,N,...",
    help="Numbers of threads for --measure.  [default: 1 and as many as CPUs]",
)
@options.results
@options.json_lines
def machine(measure: bool, threads: tuple[int, ...] | None, results: Path | None, as_json: bool) -> None:
    """Show what is known of this machine, and what it can do at most.

    The ceilings are multiply-adds in registers, matrix products, and bytes from each cache and from memory. Once they
    are measured, tables give each time as a share of them.
    """
    from convbench.reporting.console import show, show_journal_warnings
    from convbench.reporting.machine import ceilings
    from convbench.runner.machine import ceiling_threads, measure_machine, this_machine

    show_journal_warnings()
    numbers = ceiling_threads(threads, measure=measure)
    if measure:
        with ceilings.measuring() as doing:
            measure_machine(numbers, results, doing)
    with ceilings.completing() as doing:
        known = this_machine(results, doing)
    show(ceilings.report(known), [ceilings.row(known)], as_json=as_json)


@click.command(short_help="Find out how well this machine can measure.")
@click.option("--backend", default="numpy-gemm", metavar="NAME", help="Measure this backend against itself.")
@click.option(
    "--problem",
    default="n1c64h28w28_o64k3_p1",
    metavar="ID",
    help="Compute this problem; short calls say more in the same time.",
)
@click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads of the backend.")
@click.option("--quick", is_flag=True, help="Take some 12 seconds instead of 40.")
@options.results
@options.plugins
@options.json_lines
def doctor(
    backend: str,
    problem: str,
    threads: int,
    quick: bool,
    results: Path | None,
    plugins: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Find out how well this machine can measure, what limits it, and what to do about that.

    Reads the clocks and the state of the machine, measures the same work against itself, and derives which difference
    could be detected in 1, 10 and 60 seconds. Then it looks at working sets in each cache and in memory: how long calls
    take to be steady after a switch between processes, and how processes differ. The pairs of processes that it saw are
    kept, and `run`, `choose` and `compare` widen their intervals by them.
    """
    from convbench.reporting.console import show
    from convbench.reporting.machine import doctor as shown
    from convbench.runner.doctor import QUICK, WHOLE, examine, folder_for_pairs, subject

    entry, case = subject(backend, problem, plugins)
    effort = QUICK if quick else WHOLE
    with shown.progress(entry, effort.pairs) as advance:
        diagnosis = examine(entry, case, threads, effort, advance, folder_for_pairs(results))
    show(shown.report(diagnosis), [shown.row(diagnosis)], as_json=as_json)


@click.command(short_help="List earlier runs.")
@options.whole("--last", 0, "List the N newest runs; 0 lists all.", default=20)
@options.results
@options.json_lines
def runs(last: int, results: Path | None, as_json: bool) -> None:
    """List earlier runs, the newest first: last, last~1, and so on.

    `show`, `compare`, `export` and `trend` take these names, and the paths of journals.
    """
    from convbench.reporting.console import show
    from convbench.reporting.listings import runs_report
    from convbench.runner.locate import earlier_runs

    rows = [run.as_dict() for run in earlier_runs(results, last)]
    show(runs_report(rows), rows, as_json=as_json)


# Flags of other tools' dialects, such as MIOpenDriver's -n, are part of the problem here and not options of ours.
@click.command(
    short_help="Show an earlier run, the history of a case, or what is known of a problem.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("what", nargs=-1, required=True)
@click.option("--details", is_flag=True, help="Of a run, show all that was measured, in further columns.")
@click.option("--history", is_flag=True, help="Of a problem, show its records over all runs and machines.")
@options.plugins
@options.results
@options.json_lines
def show(
    what: tuple[str, ...],
    details: bool,
    history: bool,
    plugins: tuple[Path, ...],
    results: Path | None,
    as_json: bool,
) -> None:
    """Show an earlier run, the history of a case, or what is known of a problem.

    \b
    WHAT is read as the first of these that it can be:
      a run      last, last~1, or the path of a journal: its tables, with bars
      a problem  a case id, a benchdnn descriptor, MIOpenDriver flags or a torch
                 snippet: its cost, what each backend says of it, known wrong
                 answers, and its times, measured or expected
      a case     by name, or as suite/case: its times over all runs and machines,
                 what changed between them, and steps
    """
    from convbench.reporting.console import show, show_journal_warnings
    from convbench.reporting.show.subject import shown_subject
    from convbench.runner.show.subject import subject

    show_journal_warnings()
    named = subject(" ".join(what), results, plugins, history=history)
    show(*shown_subject(named, details=details), as_json=as_json)


_OF_EXTRACT = options.together(
    click.option(
        "--trace",
        is_flag=True,
        help="Run the Python script SOURCE with ARGUMENTS, and list what it computes with torch. Write -- before "
        "arguments that begin with a dash.",
    ),
    click.option(
        "--output",
        type=options.PATH,
        metavar="FILE.toml",
        help="Write a suite file, for --suite of the other commands.",
    ),
    click.option(
        "--batch", type=click.IntRange(1), metavar="N", help="Batch of the input.  [default: the model's own, or 1]"
    ),
    options.input_shape,
    click.option("--dtype", metavar="T", help="float64, float32, float16 or bfloat16.  [default: the model's own]"),
    click.option(
        "--deployed",
        is_flag=True,
        help="Join what engines compute with a convolution: fold the batch norm behind it, and fuse the activation and "
        "the residual sum. Lists what cannot be joined.",
    ),
    click.option(
        "--share",
        is_flag=True,
        help="With --deployed: run the model on the CPU, on random numbers, and say which share of a pass the layers "
        "take. A torch model has the weights that its code gives it; an ONNX file is run by ONNX Runtime.",
    ),
    options.where,
    options.json_lines,
)


@click.command(short_help="List the convolutions of a model, as a suite.")
@click.argument("source")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_OF_EXTRACT
def extract(source: str, arguments: tuple[str, ...], trace: bool, as_json: bool, **words: Any) -> None:
    """List the convolutions that the model SOURCE runs, each with how often it runs.

    \b
    SOURCE is one of
      timm:resnet50            a model of timm
      torchvision:resnet50     a model of torchvision
      module:callable          a torch module, or a function that makes one, of an importable module
      model.py:Net             the same, of a file
      model.onnx               an ONNX file
      model.pt2                a program of torch.export.save
      run.log                  a log of ONEDNN_VERBOSE=1 or MIOPEN_ENABLE_LOGGING_CMD=1, or .txt
      script.py                with --trace: a script, which is run

    Torch models run on the meta device, without weights and memory; with --share they also run in earnest. What runs
    counts, functional calls and padding modules included, not what is declared. From files only the graph is read;
    their code is not run, but that of an ONNX file with --share. With --trace the script's own code runs; its output
    goes to standard error, and the exit code is 1 if the script fails.
    """
    from convbench.errors import NothingMeasuredError
    from convbench.reporting.console import say, show
    from convbench.reporting.listings import extraction_report, extraction_rows, extraction_sentences
    from convbench.runner.extract import extract_layers

    if arguments and not trace:
        raise click.UsageError(f"{arguments[0]!r} is an argument for a script; give --trace, too.")
    model, suite = extract_layers(source, trace=arguments if trace else None, **words)
    if suite.cases:
        show(extraction_report(model, suite), extraction_rows(model, suite), as_json=as_json)
    for sentence in extraction_sentences(model, suite, words["output"]):
        say(sentence, error=as_json)
    if not suite.cases:
        condition = f" for which {words['where']!r} holds" if words["where"] and model.cases else ""
        raise NothingMeasuredError(f"{source} runs no conv2d{condition}.")
    if model.exit_code:
        sys.exit(1)
