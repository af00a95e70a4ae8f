"""Files that are no files: each is said at once, in the error of its kind, by every command that takes a path."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.errors import SuiteError
from convbench.files.user_file import FileKind, check_regular, opened, read_bytes, read_text
from convbench.suite import load_suite

KIND = FileKind("a note", 2**20, "give a note", SuiteError)
SPARSE_BYTES = 40 * 2**30


def refused(path: str | Path, kind: FileKind = KIND) -> str:
    messages = []
    for read in (read_bytes, read_text, check_regular):
        with pytest.raises(SuiteError) as caught:
            read(path, kind)
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert messages[0].endswith("; give a note.") and "\n" not in messages[0]
    return messages[0]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE_BYTES)


def loop(path: Path) -> None:
    path.symlink_to(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may be 107 bytes long
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


NOT_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (fifo, "this is a named pipe"),
    "device": (device, "this is a device"),
    "folder": (folder, "this is a folder"),
    "socket": (a_socket, "this is a socket"),
    "sparse": (sparse, "42,949,672,960 bytes"),
    "loop": (loop, "cannot be read: "),
}


@pytest.mark.parametrize("name", NOT_FILES)
def test_what_is_no_file_is_said(name: str, tmp_path: Path) -> None:
    make, words = NOT_FILES[name]
    make(tmp_path / name)
    assert f"{tmp_path / name}: " in refused(tmp_path / name)
    assert words in refused(tmp_path / name)


def test_names_that_no_file_can_have_are_said(tmp_path: Path) -> None:
    assert "cannot be read: " in refused(tmp_path / ("n" * 5000))
    assert "no file can have this name" in refused("a\0b")
    assert "there is no such file" in refused(tmp_path / "none")
    (tmp_path / "file").touch()
    assert "cannot be read: " in refused(tmp_path / "file" / "under")


def test_a_file_that_does_not_know_its_size_is_read_up_to_the_limit() -> None:
    tiny = FileKind("a note", 10, "give a note", SuiteError)
    with pytest.raises(SuiteError, match="at most 0 MiB, and this has more"):
        read_bytes("/proc/self/status", tiny)


def test_another_encoding_and_an_error_while_reading_are_said(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"\xe9")
    with pytest.raises(SuiteError, match="as a text in UTF-8"):
        read_text(path, KIND)
    with pytest.raises(SuiteError, match="cannot be read: it broke"), opened(path, KIND):
        raise OSError("it broke")


@given(st.text(max_size=300))
def test_any_name_gives_a_file_or_a_sentence(name: str) -> None:
    try:
        read_bytes(name, KIND)
    except SuiteError as error:
        assert str(error).endswith("; give a note.")


@pytest.mark.parametrize("name", NOT_FILES)
def test_a_suite_with_such_a_table_or_image_is_said(name: str, tmp_path: Path) -> None:
    make, words = NOT_FILES[name]
    make(tmp_path / "there")
    head = 'name = "mine"\nsummary = "Mine."\n'
    case = "[[case]]\nin_channels = 3\nheight = 4\nwidth = 4\nout_channels = 1\nkernel_size = 3\n[case.data]\n"
    for key, text in (("table", ""), ("input_image", case)):
        suite = tmp_path / f"{key}.toml"
        suite.write_text(f'{head}{text}{key} = "there"\n')
        with pytest.raises(SuiteError) as caught:
            load_suite(str(suite))
        # A link to elsewhere is refused as such, whatever is there.
        assert (words if name != "device" else "inside the suite's own folder") in str(caught.value)
        assert f"{key} is 'there'" in str(caught.value)


def test_an_image_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 20_000, 8_000, 8, 2, 0, 0, 0)  # 160 million pixels: 4 GB as float64
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", 0x35AF061E))
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nsummary = "Mine."\n[[case]]\nin_channels = 3\nheight = 4\nwidth = 4\nout_channels = 1\n'
        'kernel_size = 3\n[case.data]\ninput_image = "huge.png"\n'
    )
    (case,) = load_suite(str(tmp_path / "mine.toml")).cases
    assert case.data is not None
    with pytest.raises(SuiteError, match=r"\(3, 8000, 20000\)"):
        case.data.load(case.problem)


COMMANDS = {
    "suite": ["run", "--suite"],
    "known": ["verify", "--backend", "numpy-gemm", "--known"],
    "plugin": ["verify", "--plugin"],
    "import": ["import"],
}
SUFFIXES = {"suite": ".toml", "known": ".toml", "plugin": ".py", "import": ".csv"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_it_with_exit_code_2(command: str, tmp_path: Path) -> None:
    """All kinds in one process, each as the command line would take it. Nothing may hang: the time limit is wide."""
    paths = []
    for name, (make, _) in NOT_FILES.items():
        paths.append(tmp_path / f"{name}{SUFFIXES[command]}")
        make(paths[-1])
    code = f"""
import sys
from convbench.cli.main import main
for path in {[str(path) for path in paths]!r}:
    try:
        main([*{COMMANDS[command]!r}, path, "--results", {str(tmp_path)!r}])
    except SystemExit as left:
        print(left.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.split() == ["2"] * len(paths), done.stderr
    for path, (_, words) in zip(paths, NOT_FILES.values(), strict=True):
        assert str(path if path.name != "device.py" else "/dev/zero") in done.stderr and words in done.stderr
    assert "a bug in convbench" not in done.stderr


def test_every_option_that_is_a_path_takes_a_name_that_is_too_long(tmp_path: Path) -> None:
    """And a folder in a circle of links: a sentence, and exit code 2."""
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    problem = "n1c1h4w4_o1k1"
    commands = [
        words
        for name in ("n" * 300, str(tmp_path / "circle"))
        for words in (
            ["choose", "--problem", problem, "--from-results", "--plan", f"{name}/plan.json"],
            ["choose", "--problem", problem, "--from-results", "--results", name],
            ["verify", "--backend", "numpy-gemm", "--question", problem, "--write-known", f"{name}/known.toml"],
            ["extract", "none.onnx", "--output", f"{name}/suite.toml"],
            ["compare", f"{name}/a.jsonl", f"{name}/b.jsonl"],
            ["export", f"{name}/a.jsonl", "--to", "a.csv"],
            ["trend", "--results", name],
        )
    ]
    code = f"""
import sys
from convbench.cli.main import main
for words in {commands!r}:
    try:
        main(words)
    except SystemExit as left:
        print(left.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path
    )
    codes = done.stdout.split()
    assert len(codes) == len(commands) and set(codes) <= {"2", "3"}, list(zip(codes, commands, strict=False))
    assert "a bug in convbench" not in done.stderr
