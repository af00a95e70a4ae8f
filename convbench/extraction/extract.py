"""`layers_of`: the convolutions of a torch, timm, torchvision, ONNX or torch.export model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convbench.errors import ModelError, ProblemError
from convbench.extraction.call_log import Reading
from convbench.extraction.deployed.pass_share import PassShare
from convbench.extraction.inputs import Inputs
from convbench.extraction.log import SUFFIXES, read_log
from convbench.extraction.python_source import is_callable, names_in
from convbench.problem import ALL_DTYPES, ConvProblem, Dtype
from convbench.suite import Case, Suite

FORMS = "timm:NAME, torchvision:NAME, module:callable, FILE.py:callable, FILE.onnx, FILE.pt2 or FILE.log"

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl")
_GRAPHS = (".onnx", ".pt2")
_FILES = (*_GRAPHS, *SUFFIXES, ".py")


@dataclass(frozen=True)
class Extracted:
    """The convolutions of the model that `source` names.

    `cases` are its distinct problems in the order of their first runs, with `count` and the first `layer`. `left_out`
    are sentences on what runs but is not a conv2d, or cannot be seen.
    """

    name: str
    source: str
    input_shape: tuple[int, ...]
    cases: tuple[Case, ...]
    left_out: tuple[str, ...] = ()
    joined: Mapping[str, int] | None = None
    """How many batch norms, activations and sums are joined to convolutions; None for bare ones."""
    share: PassShare | str | None = None
    """Which share of a pass its layers take, or why that is not known; None where it was not asked for."""
    exit_code: int = 0
    """Of a script that ran for it."""

    @property
    def runs(self) -> int:
        """The number of convolutions that one call of the model runs."""
        return sum(case.count for case in self.cases)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolutions of one call."""
        return sum(case.count * case.problem.macs for case in self.cases)

    def suite(self) -> Suite:
        """The same as a suite, without cases if the model has no conv2d."""
        shape = "x".join(map(str, self.input_shape))
        convolutions = "The one convolution" if self.runs == 1 else f"The {self.runs} convolutions"
        distinct = f"{len(self.cases)} distinct, " if len(self.cases) < self.runs else ""
        at = f" at {shape}" if shape else ""  # a log and a script may have several
        joined = "" if self.joined is None else f", joined with {joined_text(self.joined)}"
        summary = f"{convolutions} of {self.source}{at}{joined}: {distinct}{amount_of_macs(self.macs)}."
        return Suite(self.name, summary, ("model",), self.cases, Path(self.source))


def joined_text(joined: Mapping[str, int]) -> str:
    """`53 batch norms, 49 activations and 16 residual sums`, or `nothing`."""
    words = {"batch_norms": "batch norm", "activations": "activation", "sums": "residual sum"}
    parts = [f"{count} {words[kind]}{'s' * (count > 1)}" for kind, count in joined.items() if count]
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "nothing"


def amount_of_macs(macs: int) -> str:
    """Multiply-accumulates as text, such as `4.09 GMACs`."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if macs >= size:
            return f"{macs / size:.3g} {prefix}MACs"
    return f"{macs} MACs"


def layers_of(
    source: Any,
    *,
    batch: int | None = None,
    input_shape: Any = None,
    dtype: Dtype | None = None,
    deployed: bool = False,
) -> Extracted:
    """The distinct convolutions that the model `source` runs, each with its count and its first layer.

    `source` is a torch module, or a text: `timm:NAME`, `torchvision:NAME`, `module:callable` or `FILE.py:callable` (a
    torch module, or a function or class that makes one), `FILE.onnx`, or `FILE.pt2` (`torch.export.save`). Only the
    code of the libraries, of a module and of a callable runs. `input_shape` is what `Inputs.of` takes: the shape of the
    image, batch first, or shapes by the names of the inputs; by default they are the model's own. `batch` replaces the
    batch of the image (by default its own, or 1). `dtype` replaces the dtypes of the model.
    `deployed` joins to each convolution the batch norm, the activation and the residual sum that follow it.

    Raises `ModelError` with what to do, and `ProblemError` for an unknown dtype.
    """
    _check_dtype(dtype)
    reading = _read(source, Inputs.of(input_shape, batch))
    if not deployed:
        return _extracted(source, reading, dtype)
    extracted = _extracted(source, reading.deployed(), dtype)
    joined = reading.deployment.joined if reading.deployment else None
    return replace(extracted, name=f"{extracted.name}-deployed", joined=joined)


def layers_of_script(script: Path, arguments: Sequence[str], *, dtype: Dtype | None = None) -> Extracted:
    """The distinct convolutions that a Python script computes with torch when it runs with `arguments`, with counts.
    The script is run. `dtype` replaces theirs. Raises `ModelError`, and `ProblemError` for an unknown dtype."""
    _check_dtype(dtype)
    from convbench.extraction.script import read_script

    reading, code = read_script(script, arguments)
    return replace(_extracted(str(script), reading, dtype), exit_code=code)


def _check_dtype(dtype: Dtype | None) -> None:
    if dtype is not None and dtype not in ALL_DTYPES:
        raise ProblemError(f"dtype is {dtype!r}; it should be one of {', '.join(ALL_DTYPES)}.")


def _extracted(source: Any, reading: Reading, dtype: Dtype | None) -> Extracted:
    names: dict[ConvProblem, list[str]] = {}
    for layer in reading.layers:
        problem = layer.problem if dtype is None else layer.problem.replace(dtype=dtype)
        names.setdefault(problem, []).append(layer.name)
    cases = tuple(Case(problem, count=len(layers), layer=layers[0] or None) for problem, layers in names.items())
    source = source if isinstance(source, str) else type(source).__name__
    name = Path(source).stem if Path(source).suffix.lower() in _FILES else source.rpartition(":")[2]
    suite_name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-") or "model"
    return Extracted(suite_name, source, reading.input_shape, cases, (*reading.left_out, *reading.only_bare))


def _read(source: Any, inputs: Inputs) -> Reading:
    from convbench.extraction.torch_module import read_module

    if not isinstance(source, str):
        return read_module(source, inputs)
    library, _, name = source.partition(":")
    suffix = Path(source).suffix.lower()
    if library in ("timm", "torchvision") and name and suffix not in _GRAPHS:
        from convbench.extraction.model_zoo import read_timm, read_torchvision

        return (read_timm if library == "timm" else read_torchvision)(name, inputs)
    if suffix == ".onnx":
        from convbench.extraction.onnx.graph import read_onnx

        return read_onnx(Path(source), inputs)
    if suffix == ".pt2":
        from convbench.extraction.exported.graph import read_exported

        return read_exported(Path(source), inputs)
    if suffix in SUFFIXES and ":" not in source:
        if inputs != Inputs.of(None, None):
            raise ModelError(f"{source} has the shapes of its run; --input and --batch say nothing here.")
        return read_log(Path(source))
    if suffix in _WEIGHTS and ":" not in source:
        raise ModelError(f"{source}: such files hold weights, or code that would be run, and no shapes; give {FORMS}.")
    if suffix == ".py":
        raise ModelError(f"{source}: which model in this file? Give its name, too: {_example(source)}.")
    if not is_callable(source):
        raise ModelError(f"{source!r} is no model; it should be {FORMS}.")
    return read_module(source, inputs)


def _example(source: str) -> str:
    names = names_in(Path(source))
    return " or ".join(f"{source}:{name}" for name in names[:5]) or f"{source}:Net, where the file defines Net"
