"""Discovery: files in backends/, entry points, plugin files; each source on its own, whatever another one does."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from places import CHECKOUT

from convbench import backends, installation
from convbench.backend import Backend
from convbench.errors import BackendError
from convbench.registry import Entry, LoadFailure, Origin, Registry, Row, discover, find, load, versions

PLUGIN = """
from convbench.backend import Backend, Ready, Supports

class Mine(Backend):
    requires = ("numpy",)
    def __init__(self, name):
        self.name = name
    def prepare(self, problem, x, w, b):
        return Ready(lambda: x)

BACKENDS = (Mine("{first}"), Mine("{second}"))
"""


def plugin(path: Path, text: str = "", *, first: str = "mine-a", second: str = "mine-b") -> Path:
    path.write_text(textwrap.dedent(text) if text else PLUGIN.format(first=first, second=second), encoding="utf-8")
    return path


def by_name(registry: Registry) -> dict[str, Row]:
    return {row.name: row for row in registry.rows}


def failures(registry: Registry) -> list[Row]:
    return [row for row in registry.rows if isinstance(row, LoadFailure)]


class Named(Backend):
    """A backend for selecting by name only."""

    def __init__(self, name: str, requires: tuple[str, ...] = ()) -> None:
        self.name, self.requires = name, requires

    def prepare(self, problem: Any, x: Any, w: Any, b: Any) -> Any:
        raise NotImplementedError


def registry_of(*names: str) -> Registry:
    origin = Origin("module", "somewhere")
    return Registry(tuple(Entry(name, origin, Named(name)) for name in names))


# --- files in backends/ -----------------------------------------------------------------------------------------------


def test_every_public_file_in_backends_is_a_source_and_no_private_one() -> None:
    files = {path.stem for path in (CHECKOUT / "backends").glob("*.py")}
    found = {entry.origin.target.rpartition(".")[2] for entry in discover()}
    assert found == {name for name in files if not name.startswith("_")}
    assert any(name.startswith("_") and name != "__init__" for name in files)


def test_the_backends_that_come_along_all_load_and_each_says_where_it_is_from() -> None:
    assert failures(discover()) == []
    for entry in discover():
        assert entry.python is None
        assert entry.reason is None
        assert entry.name == entry.backend.name
        assert find(entry.origin, entry.name) is entry.backend


def test_a_file_put_into_a_folder_of_backends_is_found_and_a_private_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(tmp_path / "zz_added.py", first="added", second="added-too")
    plugin(tmp_path / "_zz_private.py", "raise RuntimeError('nobody asked for this')")
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    found = by_name(discover())
    assert found["added"].origin == Origin("module", "convbench.backends.zz_added")
    assert "added-too" in found
    assert not any("private" in entry.origin.target for entry in found.values())
    monkeypatch.delitem(sys.modules, "convbench.backends.zz_added")


@pytest.mark.parametrize("broken", ["raise RuntimeError('half installed')", "def (", "raise SystemExit(3)"])
def test_a_broken_file_in_the_folder_is_a_row_and_the_others_are_there(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(tmp_path / "zz_broken.py", broken)
    before = set(by_name(discover()))
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    found = by_name(discover())
    assert set(found) == before | {"zz_broken"}
    failure = found["zz_broken"]
    assert isinstance(failure, LoadFailure)
    assert "convbench.backends.zz_broken failed to load" in failure.reason


# --- plugin files -----------------------------------------------------------------------------------------------------


def test_a_plugins_backends_come_after_all_others_in_its_own_order(tmp_path: Path) -> None:
    path = plugin(tmp_path / "mine.py", first="mine-z", second="mine-a")
    entries = list(discover([path]))
    assert [entry.name for entry in entries[-2:]] == ["mine-z", "mine-a"]
    assert [entry.name for entry in entries[:-2]] == [entry.name for entry in discover()]
    assert all(entry.origin == Origin("file", str(path)) for entry in entries[-2:])
    assert all(entry.unavailable() is None for entry in entries[-2:])


BROKEN = {
    "syntax": ("def (:", "SyntaxError"),
    "missing module": ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    "missing name": ("from convbench.backend import Rockend", "ImportError"),
    "exception": ("1 / 0", "ZeroDivisionError: division by zero"),
    "sys.exit": ("import sys\nsys.exit('no licence')", "SystemExit: no licence"),
    "exit of another kind": ("raise GeneratorExit", "GeneratorExit"),
    "no BACKENDS": ("x = 1", "defines no tuple BACKENDS; it should end with a line like BACKENDS = (MyConv(),)"),
    "BACKENDS that is no tuple": ("BACKENDS = 'mine'", "defines no tuple BACKENDS"),
    "a class": (
        "from convbench.backend import Backend\nclass My(Backend):\n    name = 'my'\n"
        "    def prepare(self, *a): ...\nBACKENDS = (My,)",
        "BACKENDS holds the class My; write My() instead",
    ),
    "not a backend": ("BACKENDS = (42,)", "BACKENDS holds 42, which is not an instance of convbench.backend.Backend"),
    "abstract": (
        "from convbench.backend import Backend\nclass My(Backend):\n    name = 'my'\nBACKENDS = (My(),)",
        "TypeError: Can't instantiate abstract class My",
    ),
    "no name": (
        "from convbench.backend import Backend\nclass My(Backend):\n    def prepare(self, *a): ...\nBACKENDS = (My(),)",
        "a backend is named None; a name should be letters, digits and . _ @ + - only",
    ),
    "a name with a space": (PLUGIN.format(first="my conv", second="b"), "a backend is named 'my conv'"),
    "a name like an option": (PLUGIN.format(first="-rf", second="b"), "a backend is named '-rf'"),
    "an empty name": (PLUGIN.format(first="", second="b"), "a backend is named ''"),
    "a name of markup": (PLUGIN.format(first="[red]", second="b"), "a backend is named '[red]'"),
    "a wrong capability": (
        "from convbench.backend import Supports\nSupports(dtypes={'float8'})", "TypeError: dtypes has float8; known are"
    ),
    "binary": ("\x00\x01", "SyntaxError: source code string cannot contain null bytes"),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_a_row_with_its_reason_and_the_others_are_still_there(
    broken: tuple[str, str], tmp_path: Path
) -> None:
    source, reason = broken
    bad, good = tmp_path / "bad.py", plugin(tmp_path / "good.py", first="good-a", second="good-b")
    bad.write_text(source)
    before = [entry.name for entry in discover()]
    registry = discover([bad, good])
    assert [row.name for row in registry.rows] == [*before, "bad.py", "good-a", "good-b"]
    assert [entry.name for entry in registry] == [*before, "good-a", "good-b"]
    [row] = failures(registry)
    assert row.reason.startswith(f"{bad} failed to load: ")
    assert reason in row.reason
    assert row.unavailable() == row.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.py", "there is no such file; --plugin takes a Python file"), ("folder.py", "this is a folder"),
     ("mine.txt", "is not a Python file; --plugin takes a .py file")],
)  # fmt: skip
def test_a_plugin_that_is_no_python_file_is_a_row_that_says_so(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    plugin(tmp_path / "mine.txt")
    [failure] = failures(discover([tmp_path / name]))
    assert failure.name == name
    assert reason in failure.reason


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(tmp_path: Path) -> None:
    path = plugin(tmp_path / "slow.py", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover([path])


def test_a_plugin_that_failed_to_load_is_read_anew_the_next_time(tmp_path: Path) -> None:
    path = plugin(tmp_path / "mine.py", "import no_such_module_at_all")
    assert [failure.name for failure in failures(discover([path]))] == ["mine.py"]
    plugin(path)
    assert [entry.name for entry in discover([path])][-2:] == ["mine-a", "mine-b"]


def test_two_plugins_of_one_file_name_are_two_sources(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(plugin(tmp_path / folder / "mine.py", first=f"{folder}-a", second=f"{folder}-b"))
    assert [entry.name for entry in discover(paths)][-4:] == ["one-a", "one-b", "two-a", "two-b"]


def test_a_plugin_given_twice_is_one_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin(tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    found = [entry.name for entry in discover([path, path, Path("mine.py")])]
    assert found[-2:] == ["mine-a", "mine-b"]
    assert found.count("mine-a") == 1


# --- one name, one backend --------------------------------------------------------------------------------------------


def test_two_backends_of_one_name_are_an_error_that_names_both_files(tmp_path: Path) -> None:
    one = plugin(tmp_path / "one.py", first="same", second="b1")
    two = plugin(tmp_path / "two.py", first="same", second="b2")
    with pytest.raises(BackendError, match="two backends are called 'same'") as raised:
        discover([one, two])
    assert str(one) in str(raised.value)
    assert str(two) in str(raised.value)


def test_a_plugin_cannot_take_the_name_of_a_backend_that_comes_along(tmp_path: Path) -> None:
    known = next(iter(discover()))
    path = plugin(tmp_path / "mine.py", first=known.name)
    with pytest.raises(BackendError) as raised:
        discover([path])
    assert known.origin.target in str(raised.value)
    assert str(path) in str(raised.value)


def test_two_of_one_name_in_one_file_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="two backends are called 'twin'"):
        discover([plugin(tmp_path / "mine.py", first="twin", second="twin")])


# --- finding one again ------------------------------------------------------------------------------------------------


def test_an_origin_finds_its_backend_again_and_says_when_it_is_gone(tmp_path: Path) -> None:
    origin = Origin("file", str(plugin(tmp_path / "mine.py")))
    assert find(origin, "mine-b").name == "mine-b"
    assert [backend.name for backend in load(origin)] == ["mine-a", "mine-b"]
    with pytest.raises(BackendError, match=r"mine\.py defines no backend called 'mine-c' any more"):
        find(origin, "mine-c")


def test_asking_whether_a_backend_is_available_never_raises() -> None:
    class Broken(Named):
        def unavailable(self) -> str | None:
            raise OSError("libfoo.so: no such file")

    entry = Entry("broken", Origin("module", "m"), Broken("broken"))
    assert entry.unavailable() == "asking whether it is available raised OSError: libfoo.so: no such file"


def test_a_missing_library_is_named_with_what_to_install() -> None:
    entry = Entry("x", Origin("module", "m"), Named("x", ("no_such_module_at_all", "numpy")))
    told = entry.unavailable()
    assert told == "no_such_module_at_all not installed: pip install no_such_module_at_all numpy"


# --- selecting --------------------------------------------------------------------------------------------------------

NAMES = ("torch", "torch-channels-last", "jax", "numpy-im2col", "numpy-direct")


@pytest.mark.parametrize(
    ("patterns", "selected"),
    [
        ([], NAMES),
        (["jax"], ["jax"]),
        (["torch"], ["torch"]),
        (["torch*"], ["torch", "torch-channels-last"]),
        (["numpy-*", "torch"], ["torch", "numpy-im2col", "numpy-direct"]),
        (["*direct", "numpy*", "numpy-direct"], ["numpy-im2col", "numpy-direct"]),
        (["?ax"], ["jax"]),
        (["[jt]*x"], ["jax"]),
        (["*"], NAMES),
    ],
)
def test_patterns_select_in_the_registrys_order_each_once(patterns: list[str], selected: list[str]) -> None:
    assert [entry.name for entry in registry_of(*NAMES).select(patterns)] == list(selected)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [("trch", "torch"), ("Torch", "torch"), ("numpy-imtocol", "numpy-im2col"), ("jx", "jax"), ("torch-chan", "torch")],
)
def test_a_pattern_that_matches_nothing_is_an_error_with_what_was_meant_and_what_there_is(
    pattern: str, meant: str
) -> None:
    with pytest.raises(BackendError, match=f"no backend matches '{pattern}'") as raised:
        registry_of(*NAMES).select(["jax", pattern])
    assert f"Did you mean '{meant}" in str(raised.value)
    assert f"There are: {', '.join(NAMES)}." in str(raised.value)


def test_a_pattern_like_nothing_there_is_guesses_nothing() -> None:
    with pytest.raises(BackendError) as raised:
        registry_of(*NAMES).select(["zzzzzz*"])
    assert "Did you mean" not in str(raised.value)


def test_sources_that_failed_can_be_selected_too(tmp_path: Path) -> None:
    path = plugin(tmp_path / "bad.py", "1 / 0")
    registry = discover([path])
    assert registry.select(["bad*"]) == failures(registry) != []


# --- versions ---------------------------------------------------------------------------------------------------------


def test_versions_are_of_the_distributions_that_are_required() -> None:
    version = importlib.metadata.version
    assert versions(Named("x", ("numpy", "scipy.signal"))) == {"numpy": version("numpy"), "scipy": version("scipy")}
    assert {name.lower(): v for name, v in versions(Named("x", ("PIL",))).items()} == {"pillow": version("pillow")}
    assert versions(Named("x", ("no_such_module_at_all",))) == {}
    assert versions(Named("x")) == {}


# --- in an interpreter of its own -------------------------------------------------------------------------------------


def python(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=CHECKOUT, env=environment, check=False
    )


def test_discovery_and_availability_import_no_library() -> None:
    code = """
        import sys
        from convbench.registry import discover, versions
        for entry in discover():
            entry.unavailable()
            versions(entry.backend)
        heavy = ("numpy", "scipy", "torch", "jax", "jaxlib", "numba", "llvmlite", "cv2", "onnxruntime", "tensorflow")
        print("imported:", *(name for name in heavy if name in sys.modules))
    """
    done = python("-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["imported:"]


def distribution(folder: Path, name: str, value: str, source: str, module: str) -> None:
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    facts = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[convbench.backends]\n{name} = {value}\n")


def listed(folder: Path, *plugins: Path) -> list[dict[str, Any]]:
    options = [word for path in plugins for word in ("--plugin", str(path))]
    done = python("-m", "convbench", "backends", "--json", *options, path=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_backends_of_installed_distributions_are_found_before_plugins(tmp_path: Path) -> None:
    installed, apart = tmp_path / "installed", tmp_path / "apart"
    installed.mkdir()
    apart.mkdir()
    whole = PLUGIN.format(first="whole-a", second="whole-b")
    other = PLUGIN.format(first="other-a", second="other-b").replace("BACKENDS", "SOME")
    distribution(installed, "x-whole", "x_whole", whole, "x_whole")
    distribution(installed, "x-other", "x_other:SOME", other, "x_other")
    distribution(installed, "x-broken", "x_broken", "raise RuntimeError('half installed')", "x_broken")
    rows = listed(installed, plugin(apart / "mine.py"))
    names = [row["backend"] for row in rows]
    assert names[-7:] == ["x_broken", "other-a", "other-b", "whole-a", "whole-b", "mine-a", "mine-b"], names
    assert names[:-7] == [entry.name for entry in discover()]
    found = {row["backend"]: row for row in rows}
    assert [found[name]["origin"] for name in ("whole-b", "other-a")] == ["x_whole", "x_other:SOME"]
    assert found["whole-a"]["available"] is True
    assert found["whole-a"]["versions"] == {"numpy": importlib.metadata.version("numpy")}
    assert found["x_broken"]["available"] is False
    assert found["x_broken"]["reason"] == "x_broken failed to load: RuntimeError: half installed"


def test_a_name_taken_by_an_installed_distribution_ends_the_command_with_both_sources(tmp_path: Path) -> None:
    taken = next(iter(discover())).name
    distribution(tmp_path, "x-taken", "x_taken", PLUGIN.format(first=taken, second="b"), "x_taken")
    done = python("-m", "convbench", "backends", "--json", path=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"two backends are called '{taken}'" in done.stderr
    assert "x_taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugin_found_here_is_found_again_by_its_origin_in_another_process(tmp_path: Path) -> None:
    path = plugin(tmp_path / "mine.py")
    origin = list(discover([path]))[-1].origin
    asked = f"find(Origin({origin.kind!r}, {origin.target!r}), 'mine-b')"
    code = f"from convbench.registry import Origin, find; print({asked}.name)"
    done = python("-c", code)
    assert done.stdout == "mine-b\n", done.stderr


def test_what_to_type_works_from_where_one_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installation, "CHECKOUT", str(tmp_path))
    assert installation.pip_line("'convbench[torch]'") == f"pip install -e '{tmp_path}[torch]'"
    monkeypatch.chdir(tmp_path)
    assert installation.pip_line("convbench[torch]") == "pip install -e '.[torch]'"
    assert installation.pip_line("numpy scipy") == "pip install numpy scipy"
    monkeypatch.setattr(installation, "CHECKOUT", None)
    assert installation.pip_line("convbench[torch]") == "pip install 'convbench[torch]'"
