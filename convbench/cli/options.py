"""Options that several commands share, and kinds of option values. A value that does not fit is a usage error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from convbench.api import arguments


def _kind(reader: Callable[..., Any], **keywords: bool) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        try:
            return reader(value, "the value", **keywords)
        except arguments.OptionError as error:
            raise click.BadParameter(str(error)) from None

    return read


numbers = _kind(arguments.whole_numbers)
share = _kind(arguments.share)
threshold = _kind(arguments.threshold)


def threshold_text(value: Any) -> str:
    """A share that is checked here, and read where it is used."""
    threshold(value)
    return str(value)


threshold_from_zero = _kind(arguments.threshold, zero=True)
cpus = _kind(arguments.cpus)
separated_words = _kind(arguments.separated_words)
byte_count = _kind(arguments.byte_count)

Command = TypeVar("Command", bound=Callable[..., object])
_HEADING = "heading_in_help"
_OTHERS = "Options"
_WIDEST_NAMES = 28
"""Columns for the names of options, so that all sections of a help text begin their texts at one place."""


def together(*members: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """These options, in this order."""

    def decorated(command: Command) -> Command:
        for member in reversed(members):
            command = member(command)
        return command

    return decorated


def section(heading: str, *members: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """These options, in this order, under a heading of their own in the help of a `Sectioned` command."""

    def decorated(command: Command) -> Command:
        parameters = getattr(command, "__click_params__", [])
        before = len(parameters)
        command = together(*members)(command)
        for parameter in getattr(command, "__click_params__", [])[before:]:
            setattr(parameter, _HEADING, heading)
        return command

    return decorated


def in_sections(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """The options as help shows them, each as its names and its text, by heading; those without one come last."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        if (record := parameter.get_help_record(context)) is not None:
            sections.setdefault(getattr(parameter, _HEADING, _OTHERS), []).append(record)
    if sections.keys() - {_OTHERS}:
        sections["Other options"] = sections.pop(_OTHERS)
    return sections


class Sectioned(click.Command):
    """A command with so many options that help shows them under several headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections = in_sections(self, ctx)
        widest = min(_WIDEST_NAMES, max(len(names) for records in sections.values() for names, _ in records))
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(names.ljust(widest), text) for names, text in records], col_max=_WIDEST_NAMES)


A_PROBLEM = "this convolution, such as n1c64h56w56_o64k3_p1, in any form that `convbench show` reads"
PATH = click.Path(path_type=Path)


def many(flag: str, name: str, metavar: str, help: str, **more: Any) -> Callable[[Command], Command]:  # noqa: A002
    """An option that may be given several times."""
    return click.option(flag, name, multiple=True, metavar=metavar, help=f"{help}; repeatable.", **more)


def seconds(name: str, help: str, default: float | None = None) -> Callable[[Command], Command]:  # noqa: A002
    """An option of that many seconds, above 0."""
    return click.option(name, type=click.FloatRange(0, min_open=True), default=default, metavar="S", help=help)


def percent(
    name: str,
    help: str,  # noqa: A002
    default: str | None = None,
    kind: Callable[[Any], Any] = share,
) -> Callable[[Command], Command]:
    """An option that is a share, such as 2%."""
    return click.option(name, type=kind, default=default, metavar="P%", help=help)


def whole(name: str, least: int, help: str, default: int | None = None) -> Callable[[Command], Command]:  # noqa: A002
    """An option that is a whole number from `least` on."""
    return click.option(name, type=click.IntRange(least), default=default, metavar="N", help=help)


environments = together(
    click.option("--python", metavar="PATH", help="Make the environments with this interpreter."),
    click.option(
        "--environments",
        type=PATH,
        metavar="DIR",
        help="Keep the environments here instead of in the user's cache folder.",
    ),
)
plugins = many("--plugin", "plugins", "FILE.py", "Add the backends that this file defines", type=PATH)
pythons = many(
    "--python",
    "pythons",
    "PATH=LABEL",
    "Add the backends of another environment, given by its interpreter or folder, as 'torch@LABEL'",
)
results = click.option(
    "--results",
    type=PATH,
    metavar="DIR",
    help="Keep results here instead of in results/ of the checkout or the user's data folder.",
)
json_lines = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines on standard output, and nothing else there."
)
backends = many("--backend", "backends", "GLOB", "Select backends, such as 'torch*'")
case = click.option("--case", "case_glob", metavar="GLOB", help="Select cases by name or case id.")
where = click.option(
    "--where", metavar="CONDITION", help="Select cases by a condition, such as 'groups > 1 and height >= 56'."
)
threads = click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads per backend.")
processes = click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Fresh worker processes per backend. With 3 or more, intervals include the variation between processes.  "
    "[default: 1; `run` takes more where processes differ by more than the precision]",
)
priority = click.option(
    "--priority",
    type=click.Choice(["normal", "realtime"]),
    default="normal",
    help="Let timed calls run before the other programs of a busy machine, where the system allows it (Linux).",
)
lower_precision = click.option(
    "--lower-precision",
    is_flag=True,
    help="Let backends compete that compute in a lower precision than the dtype, such as bfloat16 for float32.",
)
cache = click.option(
    "--cache",
    type=click.Choice(["warm", "cold", "pass"]),
    help="Let data stay in the caches; empty them before each call; or leave them as a pass through a model does, with "
    "the layer's input in them and its weights read one pass ago.  [default: pass for a model or a suite that stands "
    "for one, else warm]",
)
isa = click.option(
    "--isa",
    type=separated_words,
    default=(),
    metavar="ISA,ISA,...",
    help="Let libraries use no wider instructions than avx2, avx512, vnni, bf16 or amx, by their own switches; "
    "'native' sets no limit. Backends without a switch are left out.",
)
pass_bytes = click.option(
    "--pass-bytes",
    type=byte_count,
    metavar="SIZE",
    help="How much memory a pass touches, such as 100MB or 64MiB, for --cache pass.  [default: the weights of the "
    "suite's layers, and the largest input and output]",
)


def direction(does: str, default: str | None = None) -> Callable[[Command], Command]:
    """The directions of a command; `does` says what it does in them."""
    note = f"  [default: {default}]" if default else ""
    text = f"{does}: forward, input_gradient, weight_gradient, bias_gradient or step (all of these as one call).{note}"
    return click.option("--direction", metavar="D,D,...", help=text)


def epilogue(does: str, default: str | None = None) -> Callable[[Command], Command]:
    """The epilogues of a command; `does` says what it does with them."""
    note = f"  [default: {default}]" if default else ""
    text = (
        f"{does}: activations such as relu, relu6, leaky0.01, clip-1x1, hswish, silu, sigmoid, gelu or gelutanh, with "
        f"a residual sum as in add_relu or relu_add; none; or all.{note}"
    )
    return click.option("--epilogue", metavar="E,E,...", help=text)


def time_limit(
    step: str = "prepare and first call", default: float | None = None, note: str = ""
) -> Callable[[Command], Command]:
    """How long one step of a backend may take: the same in every command. `note` says a default that is set later."""
    return seconds("--time-limit", f"Stop a backend that takes longer for one step, such as {step}.{note}", default)


quick = click.option("--quick", is_flag=True, help="Take a first look, with fewer and shorter samples.")
no_asv = click.option("--no-asv", is_flag=True, help="Do not write asv's files; the journal is written all the same.")
markdown = click.option("--markdown", is_flag=True, help="Print a GitHub-flavoured table, for a comment.")
input_shape = many(
    "--input",
    "input_shape",
    "[NAME=]N,C,H,W",
    "Shape of the model's input, such as 1,3,224,224, or of the input of that name, such as mask=1,1,224,224",
)
cluster = click.option(
    "--cluster",
    metavar="ADDRESS|FILE.toml",
    help="Do it on the machines of a Dask cluster; see `convbench cluster`. The records come back to this machine.",
)
machines = click.option(
    "--machines",
    type=separated_words,
    default=(),
    metavar="NAME,NAME,...",
    help="With --cluster, use each of these machines for everything; globs are fine.  [default: one of each kind]",
)
shard = click.option(
    "--shard",
    is_flag=True,
    help="With --cluster, deal the cases out over machines of one kind; a few are measured on all of them.",
)
prices = many("--price", "prices", "NAME=P", "What an hour of a machine costs; NAME may be a glob")
currency = click.option("--currency", metavar="TEXT", help="The currency of --price.  [default: EUR]")
ship = click.option(
    "--ship",
    is_flag=True,
    help="With --cluster, install a wheel of this checkout on each machine first, for this command alone.",
)
insecure = click.option("--insecure", is_flag=True, help="Accept a connection to other machines that is not encrypted.")


def of_cluster(cluster: str | None, values: Mapping[str, Any]) -> None:
    """Raise a usage error for options in `values` that were given without `--cluster`, which they go with."""
    if cluster is None and (typed := next((name for name, value in values.items() if value), None)):
        raise click.UsageError(f"--{typed} goes with --cluster; give that, too, or leave it out.")
