"""Backends of one library, "reported", whose project has a form: one is wrong in groups, one crashes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.backend.issue_form import IssueForm
from convbench.problem import ConvProblem
from convbench.verification.reference import convolve

FORM = IssueForm(
    library="reported",
    project="Reported",
    url="https://example.org/new",
    sections={
        "What I saw": ("summary", "observed", "expected", "where it shows"),
        "How to see it": ("program",),
        "My system": ("environment", "platform"),
    },
    native=lambda problem, x, w, b: f"// bare, {x.size} numbers",
    native_fused=lambda problem, x, w, b, r: f"// {problem.epilogue} with a residual of {r.size} numbers",
    native_language="cpp",
    environment=("-c", "print('An environment, printed by the project\\'s own command')"),
)


class Right(Backend):
    requires = ("numpy",)
    supports = Supports()
    arithmetic = Arithmetic("direct", accumulate="float64")
    issue_form: IssueForm | None = FORM

    def __init__(self, name: str) -> None:
        self.name = name

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        return Ready(lambda: self.computed(problem, x, w, b).astype(np.float32))

    def computed(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return convolve(problem, x, w, b)


class WrongInGroups(Right):
    def computed(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        return np.flip(convolve(problem, x, w, b), 1) if problem.groups > 1 else convolve(problem, x, w, b)

    def script(self, problem: ConvProblem) -> str | None:
        group = problem.in_channels // problem.groups
        return "\n".join(
            [
                "seen = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), w.shape[2:], (2, 3))",
                f"parts = [seen[:, i * {group}:(i + 1) * {group}] for i in range({problem.groups})]",
                "kernels = np.split(w.astype(np.float64), len(parts))",
                'made = [np.einsum("ncyxij,ocij->noyx", *pair) for pair in zip(parts, kernels)]',
                "out = np.flip(np.concatenate(made, 1), 1).astype(np.float32)",
            ]
        )


class Crashing(Right):
    def computed(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Any:
        if problem.stride != (1, 1):
            os._exit(9)
        return super().computed(problem, x, w, b)


class WithoutGroups(Right):
    supports = Supports(groups=False)


class WithoutItsActivation(Right):
    supports = Supports(activations={"relu"}, residuals={"before"})

    def prepare_fused(self, problem: ConvProblem, x: Any, w: Any, b: Any, r: Any) -> Ready:
        return Ready(lambda: (self.computed(problem, x, w, b) + r).astype(np.float32))


BACKENDS = (
    Right("reported-right"),
    WrongInGroups("reported-wrong-in-groups"),
    Crashing("reported-crashing"),
    WithoutGroups("reported-without-groups"),
    WithoutItsActivation("reported-without-its-activation"),
)
