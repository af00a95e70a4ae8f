"""`extract`: the convolutions of a model, as a suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from convbench.cli import options


@click.command(short_help="The convolutions of a model, as a suite.")
@click.argument("source")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Write a suite file, for --suite of the other commands.",
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="The batch of the input.  [default: the model's own, or 1]"
)
@options.input_shape
@click.option("--dtype", metavar="T", help="float64, float32, float16 or bfloat16.  [default: the model's own]")
@options.where
@options.json_lines
def extract(**given: Any) -> None:
    """List the convolutions that the model SOURCE runs, each with how often it does.

    \b
    SOURCE is one of
      timm:resnet50            a model of timm
      torchvision:resnet50     a model of torchvision
      module:callable          a torch module, or what makes one, from module.py
      model.onnx               an ONNX file
      model.pt2                a program of torch.export.save

    Torch models run on the meta device, without weights and memory: what counts is what runs, functional calls and
    padding modules too, not what is declared. Of files the graph is read alone, and no code of theirs is run.
    """
    from convbench.runner.extract import Request, show_layers

    sys.exit(show_layers(Request(**given)))
