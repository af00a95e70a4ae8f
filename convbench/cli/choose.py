"""Which backend to use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench.cli import options
from convbench.cli.parameters import share


@click.command(short_help="Say which backend to use for a model, a suite or a problem.")
@click.option("--suite", metavar="NAME|FILE.toml", help="Choose for the layers of this suite.")
@click.option(
    "--model",
    metavar="MODEL",
    help="Choose for this model: timm:NAME, torchvision:NAME, module:callable, FILE.onnx or FILE.pt2.",
)
@click.option("--problem", metavar="ID", help="Choose for this convolution, such as n1c64h56w56_o64k3_p1.")
@options.backends
@options.where
@options.threads
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Of every layer.")
@options.input_shape
@click.option("--dtype", metavar="T", help="Of every layer: float64, float32, float16 or bfloat16.")
@click.option("--plan", type=click.Path(path_type=Path), metavar="FILE", help="Write the choices to FILE, as a plan.")
@click.option("--from-results", is_flag=True, help="Answer at once from earlier records of this machine.")
@click.option("--machine", metavar="NAME", help="Answer for another machine, from its records.")
@options.processes
@click.option(
    "--budget",
    type=click.FloatRange(0, min_open=True),
    default=0.5,
    show_default=True,
    metavar="S",
    help="Seconds of sampling for a backend and layer at most.",
)
@click.option(
    "--precision",
    type=share,
    metavar="P%",
    help="Sample those that are close until their ratio is known this well, within --budget.  [default: 1%]",
)
@click.option(
    "--tie",
    type=share,
    default="2%",
    show_default=True,
    metavar="P%",
    help="A difference that is smaller than this is none.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="S",
    help="Seconds that one answer of a backend may take, such as to make ready and call once.",
)
@click.option(
    "--lower-precision", is_flag=True, help="Let backends compete that compute in less than the dtype asked for."
)
@options.plugins
@options.results
@options.json_lines
def choose(**given: Any) -> None:
    """Say which backend to use here for the layers of a suite or a model, or for one problem.

    Backends are verified, then raced: all are sampled by turns, and who is beaten is dropped. Far-behind ones are not
    asked again on layers like those that showed it. Leaves with 3 when there is no choice.
    """
    questions = [name for name in ("suite", "model", "problem") if given[name] is not None]
    if len(questions) != 1:
        told = "there is none" if not questions else f"there are {' and '.join(f'--{name}' for name in questions)}"
        raise click.UsageError(f"give one of --suite, --model and --problem; {told}.")
    from convbench.runner.choose.choose import answer
    from convbench.runner.choose.request import Request

    sys.exit(answer(Request(**given)))
