"""Every wait for another process has a limit and names it; a run goes on without asv's files when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import SoftFileLock

from convbench.errors import LockedError
from convbench.files.file_lock import file_lock
from convbench.files.scratch import collect_leftovers, scratch_folder
from convbench.store.locations import machine_folder

HOLDS = "import sys, time; from convbench.files.file_lock import file_lock; from pathlib import Path\n"
HOLDS += "with file_lock(Path(sys.argv[1]), 1, print):\n    print('held', flush=True); time.sleep(600)"
WITHOUT_FLOCK = (
    "import errno, fcntl\ndef flock(*_):\n    raise OSError(errno.ENOSYS, 'no locks here')\nfcntl.flock = flock\n"
)


def held_by_another(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_wait_has_a_limit_and_names_the_holder(tmp_path: Path) -> None:
    path, said = tmp_path / ".held", []
    holder = held_by_another(path)
    try:
        start = time.monotonic()
        refusal = f"Process {holder.pid} on .* holds .*held, and still did after 1 s"
        with pytest.raises(LockedError, match=refusal), file_lock(path, 1.0, said.append):
            pass
        assert time.monotonic() - start >= 1
        assert len(said) == 1 and f"Process {holder.pid} on " in said[0] and "1 s at most" in said[0]
    finally:
        holder.kill()
        holder.wait()


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".held"
    holder = held_by_another(path)
    holder.kill()
    holder.wait()
    assert path.exists()
    with file_lock(path, 60.0, print):
        pass
    assert not path.exists()


def test_a_lock_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LockedError, match="cannot be made"), file_lock(tmp_path / "file" / ".held", 1.0, print):
        pass


def test_two_threads_of_work_never_hold_it_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from convbench.files.file_lock import file_lock\n"
        "folder = Path(sys.argv[1])\n"
        "for _ in range(30):\n"
        "    with file_lock(folder / '.held', 120, lambda _: None):\n"
        "        count = int((folder / 'count').read_text())\n"
        "        (folder / 'count').write_text(str(count + 1))\n"
    )
    (tmp_path / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", program, tmp_path]) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "90"


def test_what_ended_processes_left_is_collected_and_what_others_need_stays(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from convbench.files.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1]), 'asv') as one, scratch_folder(Path(sys.argv[1])) as other:\n"
        "    (one / 'half.json').write_text('{')\n"
        "    os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    left = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert left == {".asv", ".convbench"}
    old, young = tmp_path / ".asv-abcdefgh", tmp_path / ".asv-ijklmnop"
    mine, file = tmp_path / ".asv-notes.txt", tmp_path / "records.jsonl"
    elsewhere = tmp_path / ".convbench-1-00000000-abcdefgh"  # of another host, where 1 may be anything
    for path in (old, young, elsewhere):
        path.mkdir()
    for path in (mine, file):
        path.touch()
    os.utime(old, (1, 1))
    os.utime(mine, (1, 1))
    with scratch_folder(tmp_path) as ours:
        collect_leftovers(tmp_path)
        assert {*tmp_path.iterdir()} == {ours, young, elsewhere, mine, file}


def test_the_next_run_on_a_machine_collects_what_a_killed_one_left(tmp_path: Path) -> None:
    left = [tmp_path / ".asv-abcdefgh", tmp_path / "here" / ".convbench-abcdefgh", tmp_path / "here" / ".writable-1"]
    left[1].mkdir(parents=True)
    left[0].mkdir()
    left[2].touch()
    for path in left:
        os.utime(path, (1, 1))
    machine_folder(tmp_path, "here")
    assert not any(path.exists() for path in left)


def test_a_soft_lock_of_the_library_is_what_is_used(tmp_path: Path) -> None:
    """Whoever holds it by the library's own means is respected, too."""
    path, refusal = tmp_path / ".held", f"Process {os.getpid()} on "
    with SoftFileLock(path), pytest.raises(LockedError, match=refusal), file_lock(path, 0.1, print):
        pass


def test_on_a_file_system_without_flock_a_lock_is_held_and_released(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_FLOCK)
    (tmp_path / ".asv.lock").touch()  # as earlier versions left it
    program = (
        "import fcntl, sys; from pathlib import Path; from convbench.files.file_lock import file_lock\n"
        "try:\n    fcntl.flock(0, fcntl.LOCK_EX)\n    sys.exit('this system has flock')\nexcept OSError:\n    pass\n"
        "path = Path(sys.argv[1])\n"
        "with file_lock(path, 60, print):\n    assert path.exists()\nassert not path.exists()\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-c", program, str(tmp_path / ".held")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
