"""`extract`: the convolutions of a model, as a suite."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="List the convolutions of a model, as a suite.")
@click.argument("source")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Write a suite file, for --suite of the other commands.",
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="Batch of the input.  [default: the model's own, or 1]"
)
@options.input_shape
@click.option("--dtype", metavar="T", help="float64, float32, float16 or bfloat16.  [default: the model's own]")
@options.where
@options.json_lines
def extract(source: str, output: Path | None, where: str | None, as_json: bool, **inputs: Any) -> None:
    """List the convolutions that the model SOURCE runs, each with how often it runs.

    \b
    SOURCE is one of
      timm:resnet50            a model of timm
      torchvision:resnet50     a model of torchvision
      module:callable          a torch module, or a function that makes one, from module.py
      model.onnx               an ONNX file
      model.pt2                a program of torch.export.save

    Torch models run on the meta device, without weights and memory. What runs counts, functional calls and padding
    modules included, not what is declared. From files only the graph is read; their code is not run.
    """
    from convbench.errors import NothingMeasuredError
    from convbench.reporting import extraction
    from convbench.reporting.output import say, show
    from convbench.runner.extract import extract_layers

    extracted = extract_layers(source, output=output, where=where, **inputs)
    model, suite = extracted.model, extracted.suite
    if suite.cases:
        show(extraction.report(model, suite), extraction.rows(model, suite), as_json=as_json)
    for sentence in model.left_out:
        say(f"left out: {sentence}", error=as_json)
    if not suite.cases:
        condition = f" for which {where!r} holds" if where and model.cases else ""
        raise NothingMeasuredError(f"{source} runs no conv2d{condition}.")
    if output is not None:
        say(f"Written to {output}; next: convbench run --suite {shlex.quote(str(output))}", error=as_json)
