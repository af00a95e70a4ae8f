"""A figure with its rows: shown in a notebook, and saved as SVG, PNG and CSV without a browser."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench.errors import FigureError, did_you_mean
from convbench.reporting.numbers import count
from convbench.reporting.page.rows import Row
from convbench.store.formats.cells import text_of
from convbench.store.locations import draft_of

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("svg", "png", "csv")
WIDTH = 860  # px
_SCALE, _TALLEST = 2.0, 8_000  # pixels of a PNG per px, unless it had more pixels in height


@dataclass(frozen=True, repr=False)
class Figure:
    """A figure of the report. In a notebook it is shown; `save` writes it, `chart` is Altair's, `frame` its rows."""

    name: str
    """What its files are called, such as `time-against-work`."""
    title: str
    subject: str
    """The suite and the conditions that it is of; empty where it is of several."""
    caption: str
    rows: Sequence[Row]
    specification: Mapping[str, Any]
    """In Vega-Lite, with its data."""

    @property
    def chart(self) -> Any:
        """As an `altair.Chart` or `altair.LayerChart`, to be changed; the renderer that Altair is set to shows it."""
        import altair as alt

        kind = alt.LayerChart if "layer" in self.specification else alt.Chart
        return kind.from_dict(dict(self.specification), validate=False)

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each mark, or more than one for some figures; times are in ms."""
        import pandas as pd

        return pd.DataFrame.from_records(list(self.rows))

    @cached_property
    def svg(self) -> str:
        """The figure as SVG."""
        import vl_convert

        return str(vl_convert.vegalite_to_svg(dict(self.specification), allowed_base_urls=[]))

    @property
    def png(self) -> bytes:
        """The figure as PNG, twice as wide in pixels as it is meant to be shown."""
        import vl_convert

        height = float(re.search(r'height="([\d.]+)"', self.svg)[1])  # type: ignore[index]
        return _in_few_colours(vl_convert.svg_to_png(self.svg, scale=min(_SCALE, _TALLEST / height)))

    @property
    def csv(self) -> str:
        """The rows as CSV with a heading. A text that a spreadsheet would compute is in quotes."""
        import csv

        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(
            [text_of(None if row.get(name) == "" else row.get(name)) for name in names] for row in self.rows
        )
        return text.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the figure to a file, whose name ends with .svg, .png or .csv. Raises `FigureError` for another name,
        and `ResultsError` if the file cannot be written."""
        kind = Path(path).suffix[1:].lower()
        if kind not in FORMATS:
            raise FigureError(
                f"{path} is no file that a figure is saved to; its name should end with .svg, .png or .csv."
            )
        content = getattr(self, kind)
        with draft_of(Path(path)) as draft:
            draft.write_bytes(content if isinstance(content, bytes) else content.encode())

    def __repr__(self) -> str:
        return f"{self.title}{self.subject and f' ({self.subject})'}: {count(len(self.rows), 'row')}"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """For a notebook: the specification where it draws these itself, else an image."""
        import altair as alt

        version = alt.SCHEMA_VERSION.lstrip("v").partition(".")[0]
        bundle = {
            f"application/vnd.vegalite.v{version}+json": dict(self.specification),
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": repr(self),
        }
        return bundle, {"image/png": {"width": WIDTH}}

    def _html(self) -> str:
        image = base64.b64encode(self.png).decode()
        return (
            f'<figure style="margin:1em 0"><img src="data:image/png;base64,{image}" width="{WIDTH}" '
            f'style="max-width:100%;height:auto" alt="{html.escape(repr(self))}">'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )


def _in_few_colours(png: bytes) -> bytes:
    """The image with a palette of 256 colours, which makes it some four times smaller."""
    from PIL import Image

    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


@dataclass(frozen=True, repr=False)
class Figures:
    """The figures that have data, in the order of the report; one by its place or its name."""

    figures: tuple[Figure, ...] = ()

    def __iter__(self) -> Iterator[Figure]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def __getitem__(self, which: int | str) -> Figure:
        if isinstance(which, int):
            return self.figures[which]
        names = {figure.name: figure for figure in self.figures}
        if which not in names:
            listed = ", ".join(names) or "none"
            raise FigureError(f"there is no figure {which!r}; there are: {listed}.{did_you_mean(which, names)}")
        return names[which]

    def write(self, folder: str | Path) -> list[Path]:
        """Write each figure as SVG, PNG and CSV into `folder`, which is made; return the paths.

        Raises `FigureError` or `ResultsError` if that is not possible.
        """
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FigureError(f"{place} cannot be made: {error.strerror or error}.") from None
        files = {place / f"{figure.name}.{kind}": figure for figure in self for kind in FORMATS}
        for path, figure in files.items():
            figure.save(path)
        return list(files)

    def __repr__(self) -> str:
        return "\n".join(f"{figure.name}: {figure!r}" for figure in self) or "no figure has data"

    def _repr_html_(self) -> str:
        return "\n".join(figure._html() for figure in self)
