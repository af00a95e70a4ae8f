"""The convolutions of a running torch program: the user's own script, run in a process of its own and watched."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convbench.errors import ModelError, ProblemError
from convbench.extraction.call_log import Convolution, Layer, Reading, pair_of
from convbench.extraction.file_kinds import SOURCE
from convbench.extraction.transposed import BIAS_LEFT_OUT, TransposedConvolution
from convbench.files.user_file import check_regular
from convbench.problem import ConvProblem

_MOST_RUNS = 10**7


def read_script(path: Path, arguments: Sequence[str]) -> tuple[Reading, int]:
    """What the script computes with these arguments, forward only, and its exit code. Runs the user's code: its output
    goes to standard error, and it reads standard input.

    Raises `ModelError` where it ends without a convolution.
    """
    check_regular(path, SOURCE)
    tracer = Path(__file__).with_name("script_trace.py")
    with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
        result = Path(folder, "calls.json")
        command = [sys.executable, str(tracer), str(result), str(path), *arguments]
        code = subprocess.run(command, stdout=2, check=False).returncode
        noted = _calls_noted(result)
    ending = "" if code == 0 else f" It ended with {_ending(code)}."
    if noted is None:
        raise ModelError(f"{path} said nothing of what it computed.{ending or ' It ended by os._exit.'}")
    layers, left_out = _layers(noted)
    if not layers and not left_out:
        raise ModelError(f"{path} computed no convolution with torch in its main thread.{ending}")
    remarks = [f"What {path} would have computed after it ended with {_ending(code)}."] if code else []
    return Reading(tuple(layers), (*left_out, *remarks), ()), code


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _calls_noted(path: Path) -> Mapping[str, Any] | None:
    """What the tracer wrote; None if it is not there or something else, because the script may write what it likes."""
    try:
        noted = json.loads(path.read_bytes())
        return noted if isinstance(noted["convolutions"], list) and isinstance(noted["others"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _layers(noted: Mapping[str, Any]) -> tuple[list[Layer], list[str]]:
    layers: list[Layer] = []
    left_out = [f"{what}: runs {count} times." for what, count in noted["others"].items()]
    biases = 0
    for call, count in noted["convolutions"]:
        try:
            layers += [Layer("", _problem(call))] * min(int(count), _MOST_RUNS)
            biases += int(count) if "output_padding" in call and call["bias"] else 0
        except (ProblemError, KeyError, TypeError, ValueError, IndexError) as error:
            left_out.append(
                f"A convolution that is not read ({' '.join(str(error).split())[:200]}): runs {count} times."
            )
    if biases:
        left_out.append(f"{BIAS_LEFT_OUT}: runs {biases} times.")
    return layers, left_out


def _problem(call: Mapping[str, Any]) -> ConvProblem:
    padding = call["padding"]
    words = {name: call[name] for name in ("groups", "dtype")}
    words |= {name: pair_of(call[name]) for name in ("stride", "dilation")}
    sides = ((padding[0], padding[0]), (padding[-1], padding[-1]))
    shapes = tuple(call["image"]), tuple(call["weight"])
    if "output_padding" in call:
        more = pair_of(call["output_padding"])
        return TransposedConvolution.of_output_padding(*shapes, sides, more, words).problem()
    return Convolution(*shapes, sides, {**words, "bias": call["bias"]}).problem([])
