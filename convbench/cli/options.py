"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

from convbench.cli.parameters import numbers_in_order

plugins = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.py",
    help="Also take the backends that this file defines; repeatable.",
)
results = click.option(
    "--results",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept, instead of results/ of the checkout or the user's data folder.",
)
json_lines = click.option(
    "--json", "as_json", is_flag=True, help="JSON lines on standard output, and nothing else there."
)
suites = click.option(
    "--suite", "suites", multiple=True, required=True, metavar="NAME|FILE.toml", help="What to compute; repeatable."
)
backends = click.option(
    "--backend", "backends", multiple=True, metavar="GLOB", help="Only these backends, such as 'torch*'; repeatable."
)
case = click.option("--case", "case_glob", metavar="GLOB", help="Only the cases whose name or case id matches.")
where = click.option(
    "--where",
    metavar="CONDITION",
    help="Only the cases for which this holds, such as 'groups > 1 and height >= 56'.",
)
threads = click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="For each backend."
)
processes = click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Fresh worker processes for each backend; from 3 on intervals include what processes differ by.  "
    "[default: 1; `run` takes more on a machine where processes differ by more than the precision]",
)
quick = click.option("--quick", is_flag=True, help="A first look: fewer and shorter samples.")
no_asv = click.option("--no-asv", is_flag=True, help="Leave asv's files alone; the journal is written all the same.")
markdown = click.option("--markdown", is_flag=True, help="A GitHub-flavoured table, for a comment.")
input_shape = click.option(
    "--input",
    "input_shape",
    type=numbers_in_order,
    metavar="N,C,H,W",
    help="The shape of the model's input, such as 1,3,224,224.  [default: the model's own]",
)
