"""Filtered photographs as images: each answer, and one sheet on which a wrong answer looks wrong.

A row of the sheet is a backend: its output, the difference to the exact answer, amplified, and the upper left corner,
where the padding shows, enlarged.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from convbench.errors import PictureError
from convbench.reporting.terminal_text import printable
from convbench.runner.picture.kernels import KERNELS, RANDOM
from convbench.runner.picture.picture import Filtered, Picture, Pictures, Pixels

_CELL, _GAP, _CAPTION = 300, 14, 40  # pixels
_CORNER = 24  # pixels of the picture, enlarged to a cell
_INK, _PAPER, _BAD, _FRAME = (27, 31, 36), (255, 255, 255), (207, 34, 46), (160, 167, 175)

Cell = tuple[Image.Image | None, str, bool]
"""An image, its caption, and whether that is bad news."""


def contact_sheet(pictures: Pictures) -> Image.Image:
    """Everything on one sheet: the photograph and the exact answers, then a row for each backend."""
    rows: list[list[Cell]] = []
    for picture in pictures.pictures:
        rows.append([
            (_image(pictures.photo), f"input, {_size(pictures.photo)}", False),
            (_image(picture.exact), f"exact answer, {_size(picture.exact)}, {_subject(picture)}", False),
            (_corner(picture.exact), "its upper left corner", False),
        ])  # fmt: skip
        rows += [_row(filtered, picture) for filtered in picture.filtered]
    width = 3 * _CELL + 4 * _GAP
    sheet = Image.new("RGB", (width, len(rows) * (_CELL + _CAPTION) + _GAP), _PAPER)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            _draw(sheet, cell, _GAP + column * (_CELL + _GAP), _GAP + number * (_CELL + _CAPTION))
    return sheet


def write_images(pictures: Pictures, folder: Path) -> list[Path]:
    """Write the sheet, the photograph, the exact answers, and the output and the difference of each backend, as PNG.
    Raises `PictureError` when they cannot be written."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in _images(pictures):
            image.save(folder / f"{name}.png")
            written.append(folder / f"{name}.png")
    except OSError as error:
        raise PictureError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return written


def _images(pictures: Pictures) -> Iterator[tuple[str, Image.Image]]:
    yield "sheet", contact_sheet(pictures)
    yield "input", _image(pictures.photo)
    for picture in pictures.pictures:
        suffix = _suffix(picture, pictures)
        yield f"exact{suffix}", _image(picture.exact)
        for filtered in picture.filtered:
            if filtered.output is not None:
                name = _file_name(filtered.backend)
                yield f"{name}{suffix}", _image(filtered.output)
                yield f"{name}{suffix}-difference", _difference(filtered.output, picture.exact)[0]


def _suffix(picture: Picture, pictures: Pictures) -> str:
    """What tells the files of this picture from those of the others: its kernel and its padding mode, where several."""
    kernels = list(dict.fromkeys(one.kernel for one in pictures.pictures))
    modes = {one.problem.padding_mode for one in pictures.pictures}
    kernel = picture.kernel if _is_a_name(picture.kernel) else f"kernel{kernels.index(picture.kernel) + 1}"
    return (f"-{kernel}" if len(kernels) > 1 else "") + (f"-{picture.problem.padding_mode}" if len(modes) > 1 else "")


def _is_a_name(kernel: str) -> bool:
    return kernel in (*KERNELS, RANDOM)


def _subject(picture: Picture) -> str:
    """Its kernel and padding mode, if it is padded."""
    kernel = picture.kernel if _is_a_name(picture.kernel) else "own kernel"
    return f"{kernel}, {picture.problem.padding_mode}" if np.any(picture.problem.padding) else kernel


def _file_name(backend: str) -> str:
    return "".join(c if c.isalnum() or c in "-_.@" else "_" for c in backend)


def _row(filtered: Filtered, picture: Picture) -> list[Cell]:
    name, is_bad = printable(filtered.backend), filtered.status.is_failure
    if filtered.output is None:
        return [(None, f"{name}: {filtered.status}, {printable(filtered.reason or '')}", is_bad)]
    assert filtered.verdict is not None
    difference, factor = _difference(filtered.output, picture.exact)
    error = filtered.verdict.error_over_bound
    shown = f"difference times {factor:,.3g}; error/bound {error:.2g}" if factor else "no difference"
    # The largest of each neighbourhood: a single wrong pixel must not get lost where the sheet is smaller.
    spread = difference.filter(ImageFilter.MaxFilter(5))
    return [
        (_image(filtered.output), f"{name}: {filtered.status}", is_bad),
        (spread, shown, is_bad),
        (_corner(filtered.output), "its upper left corner", is_bad),
    ]


def _difference(output: Pixels, exact: Pixels) -> tuple[Image.Image, float]:
    """The distance from the exact answer in grey, the largest white, as is what is no number; and the factor that it is
    amplified by, 0 where there is none."""
    distance = np.abs(output - exact).max(axis=2)
    finite = distance[np.isfinite(distance)]
    largest = float(finite.max()) if finite.size else 0.0
    factor = 255 / largest if largest > 0 else 0.0
    grey = np.where(np.isfinite(distance), distance * factor, 255)
    return _image(np.repeat(grey[:, :, None], 3, axis=2)), factor


def _image(pixels: Pixels) -> Image.Image:
    values: NDArray[Any] = np.nan_to_num(pixels, nan=255, posinf=255, neginf=0)
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8), "RGB")


def _corner(pixels: Pixels) -> Image.Image:
    return _image(pixels[:_CORNER, :_CORNER]).resize((_CELL, _CELL), Image.Resampling.NEAREST)


def _draw(sheet: Image.Image, cell: Cell, left: int, top: int) -> None:
    image, caption, is_bad = cell
    if image is not None:
        scale = _CELL / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        sheet.paste(image.resize(size), (left, top))
        ImageDraw.Draw(sheet).rectangle((left - 1, top - 1, left + size[0], top + size[1]), outline=_FRAME)
        top += size[1]
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    width = sheet.width - left if image is None else _CELL
    while draw.textlength(caption, font) > width and len(caption) > 4:
        caption = caption[:-2].rstrip("…") + "…"
    draw.text((left, top + 4), caption, fill=_BAD if is_bad else _INK, font=font)


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
