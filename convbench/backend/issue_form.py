"""What a library's project asks for in a bug report: declared by its backends, filled in by `convbench bug`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from convbench.problem import ConvProblem, Scales

if TYPE_CHECKING:
    import numpy as np

Part = Literal["summary", "program", "observed", "expected", "where it shows", "environment", "versions", "platform"]
"""A part of a report: what is computed and goes wrong; the smallest program without convbench; what comes out; what
should; on which threads, layouts, instruction sets and backends; what the project's own command prints of the
environment; the libraries' versions; the operating system and the CPU."""
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True)
class IssueForm:
    """A form. `sections` maps its headings, in their order, to the parts that belong there. `environment` are the
    arguments with which this Python prints what the project wants to know of an environment, such as
    `("-m", "torch.utils.collect_env")`; empty where versions are enough. Raises `TypeError` for an unknown part."""

    library: str
    """The word for `--for`."""
    project: str
    url: str
    sections: Mapping[str, tuple[Part, ...]]
    environment: tuple[str, ...] = ()
    native: Callable[[ConvProblem, np.ndarray, np.ndarray, np.ndarray | None], str | None] | None = None
    """The problem with its operands `x` (N, C, H, W), `w` (O, C/groups, kh, kw) and `b` (O,) as a program in the
    project's own language, which says what comes out and what should; None where it cannot be one."""
    native_fused: (
        Callable[[ConvProblem, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None], str | None] | None
    ) = None
    """The same of a problem with an epilogue, which may have a residual `r`, in the shape of the output."""
    native_quantized: Callable[[ConvProblem, np.ndarray, np.ndarray, np.ndarray | None, Scales], str | None] | None = (
        None
    )
    """The same of a quantised problem."""
    native_language: str = ""
    """The language's name, as Markdown marks code."""

    def __post_init__(self) -> None:
        named = [part for parts in self.sections.values() for part in parts]
        if unknown := sorted(set(named) - set(PARTS)):
            raise TypeError(f"sections has {', '.join(unknown)}; known are {', '.join(PARTS)}")


PLAIN = IssueForm(
    library="",
    project="the library",
    url="",
    sections={
        "What happens": ("summary",),
        "Reproduce": ("program",),
        "Got": ("observed",),
        "Expected": ("expected",),
        "Where it shows": ("where it shows",),
        "Versions": ("versions", "platform"),
    },
)
"""For a backend that declares no form."""
