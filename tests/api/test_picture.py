"""`convbench picture`: a real photograph through real backends in workers of their own, and what the images show."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convbench
from convbench.errors import BackendError, PictureError, ProblemError
from convbench.runner.picture.kernels import kernel_of
from convbench.runner.picture.picture import read_photo

pytestmark = pytest.mark.slow

FAULTY = """
from convbench import Arithmetic, Backend, Ready, Supports

class Faulty(Backend):
    supports = Supports(dtypes={"float32"}, padding_modes={"zeros"})
    arithmetic = Arithmetic("direct")

    def __init__(self, name, crashes=False):
        self.name, self.crashes = name, crashes

    def prepare(self, problem, x, w, b):
        from convbench.verification.reference import convolve

        y = convolve(problem, x, w, b).astype(x.dtype)

        def run():
            if self.crashes:
                import os
                os._exit(3)
            y[:, :, 40:50, 60:80] += 1
            return y

        return Ready(run)

BACKENDS = (Faulty("faulty"), Faulty("crashes", crashes=True))
"""


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_every_cpu_backend_sharpens_the_photograph_exactly() -> None:
    names = ("numpy*", "scipy-direct", "jax", "numba-direct", "torch", "torch-native", "torch-channels-last")
    result = convbench.picture(stride=2, padding=0, backend=names)
    photo = read_photo(None)
    assert photo.shape == (460, 460, 3)
    expected = 5 * photo[1:-1, 1:-1] - photo[:-2, 1:-1] - photo[2:, 1:-1] - photo[1:-1, :-2] - photo[1:-1, 2:]
    (picture,) = result.pictures.pictures
    assert picture.exact.shape == (229, 229, 3) and np.array_equal(picture.exact, expected[::2, ::2])
    answered = [filtered for filtered in picture.filtered if filtered.output is not None]
    assert {"numpy-loop", "numpy-gemm"} <= {filtered.backend for filtered in answered}
    for filtered in answered:
        assert filtered.verdict is not None and (filtered.verdict.check, filtered.verdict.passed) == ("exact", True)
        assert np.array_equal(filtered.output, picture.exact), filtered.backend
    assert result.ok and set(result.frame["status"]) <= {"ok", "unsupported"}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("picture")
    (folder / "faulty.py").write_text(FAULTY)
    words = [
        "picture",
        "--plugin",
        "faulty.py",
        "--backend",
        "faulty*",
        "--backend",
        "crashes",
        "--backend",
        "numpy-gemm",
    ]
    command = [sys.executable, "-m", "convbench", *words, "--json", "-o", "out"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200), folder / "out"


def test_a_fault_is_visible_where_it_is(faulty: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, folder = faulty
    assert done.returncode == 1, done.stderr
    rows = {row["backend"]: row for row in map(json.loads, done.stdout.splitlines())}
    statuses = {name: row["status"] for name, row in rows.items()}
    assert statuses == {"faulty": "wrong", "crashes": "crashed", "numpy-gemm": "ok"}
    difference = image(folder / "faulty-difference.png").max(axis=2)
    assert (difference[40:50, 60:80] == 255).all()
    difference[40:50, 60:80] = 0
    assert not difference.any()
    assert not image(folder / "numpy-gemm-difference.png").any()
    assert image(folder / "numpy-gemm.png").shape == (460, 460, 3)


def test_the_sheet_has_a_row_for_each_backend(faulty: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, folder = faulty
    assert "sheet.png has it all on one sheet" in done.stderr
    sheet = image(folder / "sheet.png")
    assert sheet.shape[0] > 4 * 300 and (sheet[:, :, 0] > sheet[:, :, 1] + 100).any(), "a fault is said in red"


def test_padding_modes_differ_at_the_border_and_a_result_is_an_image_in_a_notebook(tmp_path: Path) -> None:
    Image.fromarray(np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)).save(tmp_path / "a.png")
    result = convbench.picture(
        tmp_path / "a.png", kernel="1 2; 3 4; 5 6", padding=1, padding_mode=["zeros", "circular"], backend="numpy-gemm"
    )
    zeros, circular = (picture.exact for picture in result.pictures.pictures)
    assert zeros.shape == circular.shape == (7, 10, 3)
    assert not np.array_equal(zeros[0], circular[0]) and np.array_equal(zeros[1:-1, 1:-1], circular[1:-1, 1:-1])
    with Image.open(io.BytesIO(result.png)) as sheet:
        assert sheet.format == "PNG"


@pytest.mark.parametrize("text", ["0 1; 2 3", "0,1;2,3", "0 1\n2 3\n"])
def test_a_kernel_is_a_name_rows_or_a_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "kernel.txt").write_text(text)
    for given in (text, str(tmp_path / "kernel.txt")):
        assert kernel_of(given).tolist() == [[0, 1], [2, 3]]
    assert kernel_of("sharpen").tolist() == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]


@pytest.mark.parametrize("text", ["sharpn", "1 2; 3", "", "nan", "1e999", ";;", " ", "1 2 x"])
def test_what_is_no_kernel_is_a_sentence(text: str) -> None:
    with pytest.raises(PictureError, match="sharpen, blur, edges, emboss"):
        kernel_of(text)


def test_what_is_no_photograph_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, words in (("text.jpg", "as an image"), ("pipe.jpg", "a named pipe"), ("none.jpg", "no such file")):
        with pytest.raises(PictureError, match=words):
            convbench.picture(tmp_path / name, backend="numpy-gemm")
    with pytest.raises(BackendError, match="no backend matches"):
        convbench.picture(backend="nunpy")
    with pytest.raises(ProblemError, match="padding_mode"):
        convbench.picture(padding_mode="mirror", backend="numpy-gemm")


def test_several_kernels_are_on_one_sheet_and_random_weights_follow_from_their_seed(tmp_path: Path) -> None:
    kernels = ["sharpen", "random", "0 1; 2 3"]
    result = convbench.picture(kernel=kernels, seed=7, stride=2, padding=0, backend="numpy-gemm")
    assert result.ok and [row["kernel"] for row in result.records] == kernels
    sharpened, filtered, own = result.pictures.pictures
    assert sharpened.exact.shape == filtered.exact.shape == (229, 229, 3) and own.exact.shape == (230, 230, 3)
    weights = kernel_of("random", 7)
    assert weights.shape == (3, 3) and not np.array_equal(weights, kernel_of("random", 8))
    photo = read_photo(None).astype(np.float32).astype(np.float64)
    corner = (photo[:3, :3] * weights.astype(np.float32)[:, :, None]).sum(axis=(0, 1))
    assert np.allclose(filtered.exact[0, 0], corner, rtol=1e-6)
    names = {path.name for path in result.write(tmp_path)}
    assert {"sheet.png", "exact-sharpen.png", "exact-random.png", "numpy-gemm-kernel3-difference.png"} <= names
