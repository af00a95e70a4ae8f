"""The commands of the how-to pages are executed word for word, in one folder, as a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import DOCS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # one run of all commands for all tests

FILE = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    return [line for block in COMMANDS.findall(text) for line in block.splitlines()]


def write_files(text: str, folder: Path) -> None:
    for name, content in FILE.findall(text):
        (folder / name).write_text(content, encoding="utf-8")


def typed(command: str, folder: Path) -> tuple[int, str]:
    """The exit code and the output of a command in `folder`, which keeps the results, too."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What each command of the two pages printed, in their order."""
    folder = tmp_path_factory.mktemp("reader")
    texts = [page("add-a-backend.md"), page("verify-a-plugin.md")]
    for text in texts:
        write_files(text, folder)
    return {command: typed(command, folder) for text in texts for command in commands(text)}


def output(outputs: dict[str, tuple[int, str]], *words: str) -> str:
    [text] = [text for command, (_, text) in outputs.items() if all(word in command for word in words)]
    return text


def test_every_command_ends_as_its_page_says(outputs: dict[str, tuple[int, str]]) -> None:
    """What verifies the mistaken plugin fails with 1, unless its failures are known; all else succeeds. A time may be
    refused on a machine that is busy enough, so that of `run` is not asserted."""
    fails = {command for command in outputs if "--plugin my_mistake.py" in command and "--accept-known" not in command}
    ends = {command: code for command, (code, _) in outputs.items() if not command.startswith("convbench run")}
    assert len(fails) == 3 and len(ends) >= 8
    assert {command: outputs[command] for command, code in ends.items() if code != (command in fails)} == {}


def test_the_backend_of_the_page_is_right(outputs: dict[str, tuple[int, str]]) -> None:
    assert re.search(r"^my-im2col +available", output(outputs, "convbench backends"), re.MULTILINE)
    assert "every answer was right" in output(outputs, "--plugin my_im2col.py --strength 2", "# some 10 seconds")
    run = output(outputs, "convbench run")
    assert "my-im2col" in run and not re.search(r"^wrong ", run, re.MULTILINE)


def test_the_mistake_is_found_and_named(outputs: dict[str, tuple[int, str]]) -> None:
    found = outputs["convbench verify --plugin my_mistake.py --strength 2 --search-time 2"][1]
    assert "my-mistake, cause 1 of" in found and "_pt" in found
    assert "my-mistake fails" in output(outputs, "--question n1c1h1w1_o1k1_pt0b0l0r1")
