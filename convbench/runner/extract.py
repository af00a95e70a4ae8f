"""The convolutions of a model, as a suite: those for which a condition holds, written to a file if asked to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.deployed.pass_share import PassShare, share_of
from convbench.extraction.extract import Extracted, layers_of, layers_of_script
from convbench.extraction.file_kinds import is_onnx
from convbench.extraction.onnx.pass_share import share_of_onnx
from convbench.extraction.suite_text import suite_text
from convbench.files.user_file import real_path
from convbench.suite import Suite
from convbench.suite.filter import filtered, parse


def extract_layers(
    source: str,
    *,
    output: Path | None = None,
    where: str | None = None,
    trace: Sequence[str] | None = None,
    share: bool = False,
    **inputs: Any,
) -> tuple[Extracted, Suite]:
    """What the model `source` runs, and the suite of those convolutions for which `where` holds, which may have none.
    If there are any, they are written to `output`. `inputs` are those of `layers_of`. With `trace` the source is a
    script, which is run with these arguments. With `share` a torch model or an ONNX file is run on one thread, for
    `Extracted.share`.

    Raises `ModelError` for a model that cannot be read or an `output` that cannot be written, and `SuiteError` for a
    condition `where` that cannot be understood; both are found before the model is read, which may take long.
    """
    if output is not None and output.suffix != ".toml":
        raise ModelError(f"--output is {output}; a suite's file should end in .toml.")
    if output is not None and not real_path(output).parent.is_dir():
        raise ModelError(f"--output is {output}; there is no folder {real_path(output).parent}.")
    if where is not None:
        parse(where)
    if share and not inputs.get("deployed"):
        raise ModelError("--share is of the layers as they are deployed; give --deployed, too.")
    if trace is None:
        model = layers_of(source, **inputs)
    elif inputs.get("deployed"):
        raise ModelError(f"{source} is a script, which is watched operation by operation; leave --deployed out.")
    elif inputs.get("batch") or inputs.get("input_shape"):
        raise ModelError(f"{source} makes its own inputs; --input and --batch say nothing with --trace.")
    else:
        model = layers_of_script(Path(source), trace, dtype=inputs.get("dtype"))
    suite = model.suite() if where is None else filtered(model.suite(), where)
    if share and model.cases:
        model = replace(model, share=_share(source, model))
    if output is not None and suite.cases:
        _write(output, suite)
    return model, suite


def _share(source: str, model: Extracted) -> PassShare | str:
    if is_onnx(source):
        return share_of_onnx(Path(source), model.input_shape, threads=1)
    return share_of(source, model.input_shape, threads=1)


def _write(path: Path, suite: Suite) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(suite_text(suite), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ModelError(f"--output is {path}, which cannot be written: {error.strerror}.") from None
