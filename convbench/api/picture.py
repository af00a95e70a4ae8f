"""`convbench.picture`: a photograph through a convolution by each backend, as images to look at."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

from rich.console import RenderableType

from convbench.api.arguments import Paths, Words, paths
from convbench.api.result import Result
from convbench.problem import PaddingMode
from convbench.reporting.contact_sheet import contact_sheet, write_images
from convbench.reporting.tables import plain_table
from convbench.runner.picture.picture import Pictures, Request, apply_kernel


@dataclass(frozen=True, repr=False)
class PictureResult(Result):
    """The answers of the backends; in a notebook it is shown as the contact sheet. `frame` has a row for each."""

    pictures: Pictures

    @property
    def records(self) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "backend": filtered.backend,
                "kernel": picture.kernel,
                "padding_mode": picture.problem.padding_mode,
                "case_id": picture.problem.case_id,
                "status": str(filtered.status),
                "reason": filtered.reason,
                "error_over_bound": filtered.verdict and filtered.verdict.error_over_bound,
                "max_error": filtered.verdict and filtered.verdict.max_error,
                "wrong_elements": filtered.verdict and filtered.verdict.wrong_elements,
            }
            for picture in self.pictures.pictures
            for filtered in picture.filtered
        ]

    @property
    def exit_code(self) -> int:
        """1 when a backend is wrong, crashed or raised, 3 when none answered, else 0."""
        if self.pictures.failures:
            return 1
        return 0 if any(f.output is not None for p in self.pictures.pictures for f in p.filtered) else 3

    def write(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the sheet and all images as PNG into `folder`; gives their paths. Raises `PictureError`."""
        return write_images(self.pictures, Path(folder))

    def __rich__(self) -> RenderableType:
        headers = ("backend", "kernel", "padding", "status", "error/bound", "largest error", "why")
        return plain_table(headers, [_cells(row) for row in self.records], right=(4, 5), wraps=(6,))

    @property
    def png(self) -> bytes:
        """The contact sheet as PNG."""
        content = io.BytesIO()
        contact_sheet(self.pictures).save(content, "PNG")
        return content.getvalue()

    def _repr_html_(self) -> str:
        # Not `_repr_png_` as well: a notebook would keep the image twice, and show the table alone.
        image = base64.b64encode(self.png).decode()
        return f'{super()._repr_html_()}<img src="data:image/png;base64,{image}" alt="contact sheet">'


def picture(
    photo: str | PathLike[str] | None = None,
    *,
    kernel: Words = "sharpen",
    seed: int = 0,
    stride: int = 1,
    dilation: int = 1,
    padding: int | None = None,
    padding_mode: Words = "zeros",
    dtype: str = "float32",
    backend: Words = (),
    plugin: Paths = (),
    threads: int = 1,
    time_limit: float = 60.0,
) -> PictureResult:
    """Filter a photograph with each backend, and judge the answers; the photograph of the tutorial suite without one.

    `kernel` is sharpen, blur, edges, emboss, random (3x3 weights that follow from `seed`), rows such as
    "0 -1 0; -1 5 -1; 0 -1 0", the path of a file of rows, or several of these. Each channel is filtered alone.
    `padding` None keeps the picture's size at stride 1.

    Raises `PictureError` for a photograph or a kernel that cannot be read, `ProblemError` for arguments that make no
    convolution, and `BackendError` for a pattern that matches no backend.
    """
    request = Request(
        photo=None if photo is None else Path(photo),
        kernels=_words(kernel),
        seed=seed,
        stride=stride,
        dilation=dilation,
        padding=padding,
        padding_modes=cast("tuple[PaddingMode, ...]", _words(padding_mode)),  # which ConvProblem checks
        dtype=dtype,
        backends=_words(backend),
        plugins=paths(plugin),
        threads=threads,
        time_limit_s=time_limit,
    )
    return PictureResult(apply_kernel(request))


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    errors = [row["error_over_bound"], row["max_error"]]
    shown = ["–" if error is None else "0" if error == 0 else f"{error:.2g}" for error in errors]
    return row["backend"], row["kernel"], row["padding_mode"], row["status"], *shown, row["reason"] or ""
