"""The figures of a report by themselves: drawn and saved without a browser, one for each suite and conditions."""

from __future__ import annotations

import base64
import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from made_records import made
from PIL import Image
from places import CHECKOUT, PLUGINS

import convbench
from convbench.analysis.comparison import compare
from convbench.errors import FigureError, ResultsError
from convbench.reporting.page.figure import FORMATS, Figure, Figures
from convbench.reporting.page.standalone import figures_of
from convbench.store.ceilings import ceilings_of
from convbench.store.records import records
from convbench.store.schema import Record

pytestmark = pytest.mark.slow

STORED = CHECKOUT / "tests" / "store" / "stored_by_aefc737" / "results"
EVIL = '"></text></svg><script>alert(1)</script><img src=x onerror="alert(1)">'
TIMES = (0.5, 0.25, 0.75, 0.5, 0.25, 0.5)


@pytest.fixture(scope="module")
def stored() -> list[Record]:
    return [*records(STORED / "bench-1"), *records(STORED / "bench-2")]


@pytest.fixture(scope="module")
def figures(stored: list[Record]) -> Figures:
    return figures_of(stored, ceilings_of(stored, STORED))


def texts(figure: Figure) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(figure.svg).iter() if element.tag.endswith("text")]


def test_there_is_a_figure_for_each_suite_and_conditions_that_have_data(figures: Figures) -> None:
    names = {figure.name for figure in figures}
    assert {"history", "scaling-over-threads", "memory-tiny-bench-1-2-threads", "memory-tiny-bench-2-1-thread"} <= names
    assert len(names) == len(figures) and all(figure.rows for figure in figures)
    memory = figures["memory-tiny-bench-1-2-threads"]
    assert {(row["suite"], row["conditions"]) for row in memory.rows} == {("tiny", "bench-1, 2 threads")}
    assert memory.subject == "tiny, bench-1, 2 threads" and memory is figures[[*figures].index(memory)]
    assert any(name.startswith("roofline-") for name in names), "its ceilings are kept"
    assert "what-changed" not in names, "nothing is compared"


def test_an_image_has_its_title_its_subject_and_its_backends(figures: Figures) -> None:
    figure = figures["backends-by-cases-tiny-bench-1-1-thread"]
    backends = {row["backend"] for row in figure.rows if row["status"] not in ("unavailable", "unsupported")}
    assert {"Backends by cases", "tiny, bench-1, 1 thread", *backends} <= {*texts(figure)}
    with Image.open(io.BytesIO(figure.png)) as image:
        assert image.format == "PNG" and image.width >= 1_200


def test_rows_are_the_same_in_csv_frame_and_specification(figures: Figures, tmp_path: Path) -> None:
    figure = figures["time-against-work-tiny-bench-1-1-thread"]
    figure.save(tmp_path / "rows.csv")
    saved = pd.read_csv(tmp_path / "rows.csv")
    assert [*saved.columns] == [*figure.frame.columns] and "samples_ms" not in saved.columns
    pd.testing.assert_series_equal(saved["median_ms"], figure.frame["median_ms"].astype(float))
    assert [row["backend"] for row in figure.chart.to_dict()["datasets"]["rows"]] == [*saved["backend"]]


def test_each_is_written_in_each_format_under_a_name_of_its_own(figures: Figures, tmp_path: Path) -> None:
    chosen = Figures((figures["history"], figures["scaling-over-threads"]))
    written = chosen.write(tmp_path / "new" / "folder")
    assert {path.name for path in written} == {f"{f.name}.{kind}" for f in chosen for kind in FORMATS}
    assert all(path.stat().st_size > 100 for path in written)
    assert (tmp_path / "new" / "folder" / "history.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_saved_is_a_sentence(figures: Figures, tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=r"should end with \.svg, \.png or \.csv"):
        figures["history"].save(tmp_path / "history.pdf")
    with pytest.raises(ResultsError, match="cannot be written"):
        figures["history"].save(tmp_path / "nowhere" / "history.csv")
    (tmp_path / "file").touch()
    with pytest.raises(FigureError, match="cannot be made"):
        figures.write(tmp_path / "file")
    with pytest.raises(FigureError, match="Did you mean 'history'"):
        figures["histroy"]


def test_labels_stay_text_and_name_no_file(tmp_path: Path) -> None:
    hostile = made(EVIL, TIMES, suite="../../" + EVIL, case=EVIL, layer=EVIL, machine={"machine": "=cmd()/.."})
    other = made("+" + EVIL, TIMES, suite="..", case="=1+1")
    drawn = figures_of([hostile, other])
    assert all(re.fullmatch(r"[a-z0-9-]+", figure.name) for figure in drawn)
    for figure in drawn:
        assert "<script" not in figure.svg and "<img" not in figure.svg
        assert "<script" not in figure._html() and figure._html().count("<img") == 1
    assert any(EVIL in text for figure in drawn for text in texts(figure))
    rows = csv.reader(io.StringIO("\n".join(figure.csv for figure in drawn)))
    assert [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))] == []


def test_two_subjects_that_read_the_same_in_a_file_name_do_not_share_one() -> None:
    drawn = figures_of([made("a", TIMES, suite="one two"), made("a", TIMES, suite="one/two")])
    names = [figure.name for figure in drawn if figure.title == "Time against work"]
    assert names == ["time-against-work-one-two", "time-against-work-one-two-2"]


def test_what_changed_is_drawn(stored: list[Record]) -> None:
    base = [made("a", TIMES), made("b", TIMES)]
    new = [made("a", tuple(2 * t for t in TIMES)), made("b", TIMES)]
    (figure,) = figures_of((), changes=compare(base, new, 0.05).changes)
    assert figure.name == "what-changed" and {row["ratio"] for row in figure.rows} == {1.0, 2.0}
    result = convbench.compare(base, new)
    assert [one.name for one in result.figures] == ["what-changed"] and "<figure" in result._repr_html_()


# --- from Python ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured() -> Any:
    problems = [convbench.ConvProblem.parse(text) for text in ("n1c2h6w6_o3k3", "n1c2h6w6_o3k1")]
    return convbench.run(problems, backend=["right", "right-twin"], plugin=PLUGINS / "fakes.py", quick=True)


def test_a_result_is_shown_with_its_figures(measured: Any) -> None:
    figures = measured.figures
    assert {"time-against-work", "backends-by-cases", "memory"} <= {figure.name for figure in figures}
    page = measured._repr_html_()
    assert page.count("<figure") == len(figures) and page.index("</pre>") < page.index("<figure")
    assert repr(figures).splitlines()[0].startswith("time-against-work: Time against work (")


def test_a_figure_is_drawn_by_the_notebook_or_is_an_image(measured: Any) -> None:
    figure = measured.figures["backends-by-cases"]
    bundle, _ = figure._repr_mimebundle_(include=None, exclude=None)
    (kind,) = (kind for kind in bundle if kind.startswith("application/vnd.vegalite.v"))
    assert bundle[kind]["$schema"].rpartition("/v")[2].startswith(kind.removeprefix("application/vnd.vegalite.v")[0])
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert {row["backend"] for row in bundle[kind]["datasets"]["rows"]} == {"right", "right-twin"}


def test_a_choice_and_a_verification_have_the_figures_of_what_they_measured() -> None:
    options: dict[str, Any] = {"backend": ["one", "six"], "plugin": PLUGINS / "racers.py", "quick": True}
    choice = convbench.choose("n1c2h6w6_o3k3", **options)
    assert choice.figures["backends-by-cases"].rows[0]["backend"] == "one"
    question = ["n1c2h6w6_o3k3"]
    verified = convbench.verify("right", plugin=PLUGINS / "fakes.py", question=question, search_time=0, progress=False)
    assert len(verified.figures) == 0 and verified._repr_html_().endswith("</pre>")


def test_many_rows_are_not_drawn_unasked(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convbench.api.result._MOST_ROWS", 1)
    page = measured._repr_html_()
    assert "<figure" not in page and "result.figures shows them" in page


def test_a_picture_is_shown_in_a_notebook_with_its_table(tmp_path: Path) -> None:
    Image.new("RGB", (9, 7), "red").save(tmp_path / "photo.png")
    page = convbench.picture(tmp_path / "photo.png", kernel="0 1; 2 3", padding=0, backend="numpy-gemm")._repr_html_()
    (image,) = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(image).startswith(b"\x89PNG") and "numpy-gemm" in page[: page.index("<img")]


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_all_of_them(figures: Figures, tmp_path: Path) -> None:
    words = [
        "report",
        "bench-1",
        "bench-2",
        "--results",
        STORED,
        "-o",
        tmp_path / "r.html",
        "--figures",
        tmp_path / "f",
    ]
    command = [sys.executable, "-m", "convbench", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and f"f has {3 * len(figures)} files of figures." in done.stdout, done.stderr
    written = {path.name: path for path in (tmp_path / "f").iterdir()}
    assert {*written} == {f"{figure.name}.{kind}" for figure in figures for kind in FORMATS}
    assert written["history.csv"].read_text(encoding="utf-8") == figures["history"].csv


def test_without_the_extra_a_sentence_says_what_to_type(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['altair'] = None; from convbench.cli.main import main;"
        f"main(['report', {str(STORED / 'bench-1')!r}, '-o', {str(tmp_path / 'r.html')!r}, '--figures', 'f'])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "[report]'" in done.stderr and "Traceback" not in done.stderr
    assert [*tmp_path.iterdir()] == []


def test_without_the_extra_a_result_has_its_table(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    page = measured._repr_html_()
    assert "<figure" not in page and "[report]" in page
