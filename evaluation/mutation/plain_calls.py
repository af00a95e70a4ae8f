"""One plain call on normal data for each of many problems, and what criteria in common use say of the answers.

    echo n1c3h9w9_o4k3_s2x1 | python evaluation/mutation/plain_calls.py --backend fault-stride-swapped

takes case ids, one a line, and prints a JSON line for the ONNX node tests and one for each case: which criteria object;
which are mistaken, since they object to the correct convolution's answer, too; and whether the answer is another than
that. `mutation_score.py` reads the lines, for this process may not survive.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import faults
import numpy as np
from criteria import CRITERIA
from seeded_faults.controls import CONTROLS
from seeded_faults.convolution import Array

from convbench.backend import Backend
from convbench.problem import ConvProblem
from convbench.verification.operands import normal_operands
from convbench.verification.reference import convolve

SOUND = CONTROLS[0]
ONNX = "ONNX node tests"


# --- the ONNX node tests of Conv --------------------------------------------------------------------------------------

# onnx 1.23, onnx/backend/test/case/node/conv.py: the input counts up from 0, the weight is all ones. The last one is
# auto_pad SAME_LOWER, which for these sizes is padding 1.
ONNX_CASES = (
    "n1c1h5w5_o1k3_p1",
    "n1c1h5w5_o1k3",
    "n1c1h7w5_o1k3_s2_p1",
    "n1c1h7w5_o1k3_s2",
    "n1c1h7w5_o1k3_s2_p1x0",
    "n1c1h5w5_o1k3_s2_p1",
)


def onnx_case(case_id: str) -> tuple[ConvProblem, Array, Array, Array]:
    """The problem with its input, weight and expected output."""
    problem = ConvProblem.parse(case_id)
    x = np.arange(np.prod(problem.input_shape), dtype=np.float32).reshape(problem.input_shape)
    w = np.ones(problem.weight_shape, np.float32)
    return problem, x, w, convolve(problem, x, w, None).astype(np.float32)


def passes_onnx_node_tests(backend: Backend) -> bool:
    """Shape and dtype alike, and within a relative 1e-3 and an absolute 1e-7: the limits that these cases come with."""
    for case_id in ONNX_CASES:
        problem, x, w, expected = onnx_case(case_id)
        got = answer(backend, problem, x, w, None)
        if got.shape != expected.shape or got.dtype != expected.dtype:
            return False
        if not np.allclose(got, expected, rtol=1e-3, atol=1e-7):
            return False
    return True


# --- judging ----------------------------------------------------------------------------------------------------------


def answer(backend: Backend, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Array:
    """One plain call."""
    ready = backend.prepare(problem, x, w, b)
    output = ready.run()
    ready.sync()
    return ready.to_numpy(output)


def judged(backend: Backend, problems: list[ConvProblem]) -> Iterator[dict[str, Any]]:
    """What is objected to: by the ONNX node tests first, then by each criterion, problem by problem."""
    yield {
        "case": ONNX,
        "objecting": [] if passes_onnx_node_tests(backend) else [ONNX],
        "mistaken": [],
        "differs": False,
    }
    for problem in problems:
        given = normal_operands(problem, 0)
        right = convolve(problem, given.x, given.w, given.b).astype(given.x.dtype)
        sound, got = (answer(one, problem, given.x, given.w, given.b) for one in (SOUND, backend))
        same = (got.shape, got.dtype, got.tobytes()) == (sound.shape, sound.dtype, sound.tobytes())
        yield {
            "case": problem.case_id,
            "objecting": [criterion.name for criterion in CRITERIA if not criterion.accepts(got, right)],
            "mistaken": [criterion.name for criterion in CRITERIA if not criterion.accepts(sound, right)],
            "differs": not same,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backend", required=True)
    options = parser.parse_args()
    [backend] = [backend for backend in faults.BACKENDS if backend.name == options.backend]
    warnings.simplefilter("ignore")  # of NaN, and of halves that overflow: the criteria see them
    for line in judged(backend, [ConvProblem.parse(case_id) for case_id in sys.stdin]):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
