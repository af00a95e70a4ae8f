"""`convbench choose`: its options."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from convbench.cli import options

if TYPE_CHECKING:
    from convbench.api.choose import ChoiceResult
    from convbench.runner.choose.answer import Request


_LAYERS = options.section(
    "What to choose for",
    click.option(
        "--model",
        metavar="MODEL",
        help="Choose for this model: timm:NAME, torchvision:NAME, module:callable, FILE.py:callable, FILE.onnx or "
        "FILE.pt2.",
    ),
    click.option("--suite", metavar="NAME|FILE.toml", help="Choose for the layers of this suite."),
    click.option("--problem", metavar="ID", help=f"Choose for {options.A_PROBLEM}."),
    options.where,
    options.input_shape,
    click.option("--batch", type=click.IntRange(1), metavar="N", help="Compute every layer with this batch size."),
    click.option(
        "--dtype",
        metavar="T,T,...",
        help="Compute every layer in float64, float32, float16, bfloat16 or int8. Several are compared side by side.",
    ),
    click.option(
        "--bare",
        is_flag=True,
        help="Choose by the convolutions of a model alone, without the batch norms, activations and sums that engines "
        "join to them.",
    ),
    click.option(
        "--training", is_flag=True, help="Choose by a training step of each layer: forward and all gradients."
    ),
)
_BACKENDS = options.section(
    "Which backends",
    options.backends,
    options.plugins,
    click.option(
        "--for",
        "purpose",
        type=click.Choice(["apply"]),
        help="Choose among the backends that convbench.apply can use in a torch model; handing tensors over is timed, "
        "too.",
    ),
    options.lower_precision,
)
_TIMING = options.section(
    "How to time",
    click.option("--from-results", is_flag=True, help="Answer at once from earlier records of this machine."),
    options.quick,
    options.percent(
        "--precision",
        "Sample close backends until their ratio is known this precisely, within --budget.  [default: 1%]",
    ),
    options.percent("--tie", "Treat differences smaller than this as a tie.", "2%"),
    options.seconds("--budget", "Sample each backend on each layer for at most this many seconds.", 0.5),
    options.threads,
    options.processes,
    options.cache,
    options.pass_bytes,
    options.priority,
    options.time_limit(default=30.0),
)
_FLEET = options.section(
    "On other machines",
    click.option("--machine", metavar="NAME", help="Answer for another machine, from its records."),
    options.cluster,
    click.option(
        "--machines",
        type=options.separated_words,
        default=(),
        metavar="NAME,NAME,...",
        help="Say which of these machines to use, from their records; with --cluster, measure on them first.",
    ),
    options.prices,
    options.currency,
    click.option("--resume", is_flag=True, help="With --cluster, continue the last such measuring."),
    options.ship,
    options.insecure,
)
_RESULTS = options.section(
    "What to show and to keep",
    click.option("--plan", type=options.PATH, metavar="FILE", help="Write the choices to FILE, as a plan."),
    click.option("--details", is_flag=True, help="Explain every hazard that was seen, and not the gravest only."),
    options.json_lines,
    options.results,
)


@click.command(cls=options.Sectioned, short_help="Choose the backend for a model, a suite or a problem.")
@_LAYERS
@_BACKENDS
@_TIMING
@_FLEET
@_RESULTS
def choose(problem: str | None, as_json: bool, **values: Any) -> None:
    """Choose the backend for the layers of a suite or a model, or for one problem, on this machine.

    Backends are verified, then raced: they are sampled in turn, and beaten ones are dropped. A backend that is far
    behind is not run again on similar layers. The exit code is 3 when there is no choice.
    """
    subjects = {"--suite": values["suite"], "--model": values["model"], "--problem": problem}
    names = [name for name, value in subjects.items() if value is not None]
    if len(names) != 1:
        reason = f"there are {' and '.join(names)}" if names else "such as --model timm:resnet18"
        raise click.UsageError(f"give one of --suite, --model and --problem; {reason}.")
    from convbench.reporting.console import show_journal_warnings
    from convbench.runner.choose.answer import Request
    from convbench.runner.selection import dtypes_named

    fleet = {
        name: values.pop(name) for name in ("cluster", "machines", "prices", "currency", "resume", "ship", "insecure")
    }
    _check_fleet(fleet, values)
    request = Request(problems=() if problem is None else (problem,), **values)
    show_journal_warnings()
    if fleet["cluster"] is not None or fleet["machines"]:
        from convbench.cli.cluster import choose_hardware

        sys.exit(choose_hardware(request, as_json=as_json, **fleet))
    dtypes = dtypes_named(request.dtype)
    if len(dtypes) < 2:
        sys.exit(_chosen(request, as_json=as_json).exit_code)
    if request.plan is not None:
        raise click.UsageError(
            f"--plan takes the choices in one dtype, and --dtype has {len(dtypes)}; give one of them."
        )
    sys.exit(_side_by_side(request, dtypes, as_json=as_json))


def _check_fleet(fleet: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Raise a usage error for options of one machine beside those of several, and the other way round."""
    of_prices = [f"--{name.removesuffix('s')}" for name in ("prices", "currency") if fleet[name]]
    several = fleet["cluster"] is not None or fleet["machines"]
    if of_prices and not several:
        raise click.UsageError(f"{of_prices[0]} is for the answer over machines; give --machines or --cluster, too.")
    options.of_cluster(fleet["cluster"], {name: fleet[name] for name in ("resume", "ship", "insecure")})
    alone = {"--plan": "plan", "--for": "purpose", "--machine": "machine", "--from-results": "from_results"}
    for option, name in alone.items():
        if several and values[name]:
            raise click.UsageError(f"{option} is for one machine; leave it out, or --machines and --cluster.")
    if several and "," in (values["dtype"] or ""):
        raise click.UsageError(f"--dtype {values['dtype']} names several; over machines give one of them.")


def _chosen(request: Request, *, as_json: bool) -> ChoiceResult:
    """Choose, and show the answer."""
    from convbench.api.choose import choose_request
    from convbench.reporting.choice import answer_report
    from convbench.reporting.console import say, show, stderr
    from convbench.reporting.progress import progress
    from convbench.reporting.run.report import measuring_notes

    with progress(stderr(), plain=as_json, lower=request.lower_precision) as observer:
        result = choose_request(request, observer)
    measurements = result.measurements
    if measurements is not None and measurements.error is not None:
        raise measurements.error
    show(answer_report(result.answer), result.records, as_json=as_json)
    if measurements is not None:
        stderr().print(measuring_notes(measurements, details=request.details), crop=False)
    if request.plan is not None and result.ok:
        say(f"The plan is in {request.plan}.", error=True)
    return result


def _side_by_side(request: Request, dtypes: Sequence[str], *, as_json: bool) -> int:
    """Choose in each of `dtypes`, and show what they bring. Returns the exit code: the largest of all."""
    from convbench.api.choose_dtypes import chosen_in
    from convbench.errors import NothingMeasuredError
    from convbench.reporting.choice_by_dtype import by_dtype_report
    from convbench.reporting.console import say, show

    def choose_in(dtype: str) -> ChoiceResult:
        say(f"{dtype}:", error=True)
        try:
            return _chosen(replace(request, dtype=dtype), as_json=as_json)
        except NothingMeasuredError as error:
            say(f"convbench: {error}", error=True)
            raise

    results = chosen_in(dtypes, choose_in)
    models = {dtype: choice.answer.model for dtype, choice in results.choices.items()}
    if (report := by_dtype_report(models)) is not None:
        show(report, results.passes, as_json=as_json)
    return results.exit_code
