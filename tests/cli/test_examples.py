"""The examples in the help texts: every command has some, and each runs as it is written."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from convbench.cli.examples import EXAMPLES
from convbench.cli.main import cli

LINES = [line for lines in EXAMPLES.values() for line in lines]
SLOW = {
    "convbench machine --measure --threads 1",
    "convbench doctor --backend numpy-gemm --problem n1c16h14w14_o16k3_p1",
    "convbench verify --plugin my_conv.py --search-time 10",
}
ANSWERS = {
    "compare": {0, 1},  # One of two backends is slower on some case.
    "trend": {0, 1},  # The examples before it measured here, too, perhaps on a busier machine.
}
NEEDS_MORE = {
    "bug": "a wrong answer",
    "publish": "a checkout that asv knows",
    "releases": "a package index",
    "bisect": "a package index",
    "worker": "a scheduler of Dask",
}
NEEDS_MODULE = {
    "machines.toml": "distributed",
    "model.onnx": "onnx",
    "timm:resnet18": "timm",
    "torchvision:resnet18": "torchvision",
}
PLUGIN = """
import numpy as np
from convbench.backend import Arithmetic, Backend, Ready, Supports


class MyConv(Backend):
    name = "my-conv"
    supports = Supports(dtypes={"float32"}, padding_modes={"zeros"}, groups=False)
    arithmetic = Arithmetic(algorithm="direct")

    def prepare(self, problem, x, w, b):
        def run():
            padded = np.pad(x, ((0, 0), (0, 0), *problem.padding))
            (kh, kw), (dh, dw), (sh, sw) = problem.kernel_size, problem.dilation, problem.stride
            _, _, height, width = problem.output_shape
            y = np.zeros(problem.output_shape, np.float32)
            for i in range(kh):
                for j in range(kw):
                    rows = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
                    columns = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
                    y += np.einsum("nchw,oc->nohw", padded[:, :, rows, columns], w[:, :, i, j])
            return y if b is None else y + b[:, None, None]

        return Ready(run)


BACKENDS = (MyConv(),)
"""


def convbench(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    home = str(folder / "home")  # not the folder itself, in which a folder called convbench would hide the package
    environment = {**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CACHE_HOME": home}
    command = [sys.executable, "-m", "convbench", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name, and results of twelve nights."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "my_conv.py").write_text(PLUGIN)
    (folder / "machines.toml").write_text("[local]\nworkers = 1\n")
    done = convbench(["run", "--suite", "smoke", "--backend", "numpy*", "--quick", "--no-asv"], folder)
    assert done.returncode == 0, done.stderr
    (journal,) = (folder / "home").rglob("*.jsonl")
    for name in ("before.jsonl", "after.jsonl"):
        shutil.copy(journal, folder / name)
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    for night in range(11):
        earlier = {
            "run": f"run-{night}",
            "session": f"session-{night}",
            "time": f"2026-01-{night + 1:02}T03:00:00+00:00",
        }
        lines = [json.dumps(record | earlier) + "\n" for record in records]
        journal.with_name(f"night-{night}.jsonl").write_text("".join(lines))
    done = convbench(["export", "before.jsonl", "--to", "records.csv"], folder)
    assert done.returncode == 0, done.stderr
    if importlib.util.find_spec("onnx"):
        write_onnx(folder / "model.onnx")
    return folder


def write_onnx(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, (4, 3, 3, 3), [0.0] * 108)
    images, features = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", (1, 3, 8, 8)), ("y", (1, 4, 6, 6)))
    )
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "one", [images], [features], [weight])
    onnx.save(helper.make_model(graph), path)


def test_every_command_has_one_to_three_examples_at_the_end_of_its_help() -> None:
    assert set(EXAMPLES) == set(cli.commands)
    for name, command in cli.commands.items():
        assert 1 <= len(EXAMPLES[name]) <= 3
        text = command.get_help(click.Context(command, info_name=name))
        assert [line.strip() for line in text.splitlines()[-len(EXAMPLES[name]) :]] == list(EXAMPLES[name])


def test_a_missing_argument_is_answered_with_an_example() -> None:
    line = [sys.executable, "-m", "convbench", "compare", "only-one"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert "Missing argument 'NEW'." in done.stderr
    assert done.stderr.endswith(f"For example: {EXAMPLES['compare'][0]}\n")


@pytest.mark.parametrize("name", ["run", "verify", "choose"])
def test_many_options_stand_under_headings_and_each_stands_once(name: str) -> None:
    command = cli.commands[name]
    help_text = command.get_help(click.Context(command, info_name=name))
    headings = re.findall(r"^(\S.*):$", help_text, flags=re.MULTILINE)
    assert len(headings) >= 5 and len(set(headings)) == len(headings) and headings[-1] == "Other options"
    shown = re.findall(r"^  (-[-\w]+)", help_text, flags=re.MULTILINE)
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    assert sorted({*shown} - {"-h", "--help"}) == sorted(option.opts[0] for option in options)
    assert len(shown) == len(options) + 1
    texts_begin = {len(names) for names in re.findall(r"^  -\S+(?: \S+)*  +(?=\S)", help_text, flags=re.MULTILINE)}
    assert len(texts_begin) == 1, "in one column under all headings"


@pytest.mark.timeout(900)  # some 50 s for the longest on a quiet machine
@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.slow if line in SLOW else (), id=line) for line in LINES]
)
def test_an_example_runs_as_it_is_written(line: str, prepared: Path) -> None:
    program, name, *words = shlex.split(line)
    assert program == "convbench"
    command = cli.commands[name]
    command.make_context(name, list(words))  # Refuses unknown options and values.
    if name in NEEDS_MORE:
        pytest.skip(f"needs {NEEDS_MORE[name]}")
    for word, module in NEEDS_MODULE.items():
        if word in words:
            pytest.importorskip(module)
    done = convbench([name, *words], prepared)
    assert done.returncode in ANSWERS.get(name, {0}), f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip() and "convbench:" not in done.stderr
