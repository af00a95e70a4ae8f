"""`convbench releases`: wheels built here, environments made from them, dated and tagged points read by asv itself."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from environments import NEEDED_BY_WORKERS, library, link, wheel, write
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from places import CHECKOUT as ROOT
from places import PLUGINS

import convbench
from convbench.backend import Backend, Ready
from convbench.measurement.environments.release_dates import Index, configured_index, upload_dates
from convbench.measurement.environments.releases import Release, same_version
from convbench.measurement.environments.requirements import requirements
from convbench.registry import discover
from convbench.store.asv.release_commits import is_sound, make_history, tag
from convbench.store.asv.release_history import history_folder, write_release_history
from convbench.store.process_pairs import NAME as PAIRS
from convbench.store.session_times import NAME as TIMES

PLUGIN = PLUGINS / "by_library.py"
SUITE = """
name = "mine"
summary = "Two tiny cases."
[defaults]
in_channels = 2
height = 6
width = 6
out_channels = 3
[[case]]
kernel_size = 3
[[case]]
kernel_size = 1
"""
CASES = 2
METRICS = 4
SLEEP_S = 0.02


# --- wheels and where they are ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the library in four releases, a suite, and a checkout in which releases were measured: two, and then
    these and one between them. Made once, whichever process of the tests comes first, and left as it is."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "releases"
    with FileLock(f"{folder}.lock"):
        if not (folder / "ready").exists():
            make_place(folder)
            (folder / "ready").touch()
    return folder


def make_place(folder: Path) -> None:
    (folder / "links").mkdir(parents=True)
    link(NEEDED_BY_WORKERS, folder / "links")
    for name in NEEDED_BY_WORKERS:  # installed from here, they are the ones that the tests run with
        wheel(folder / "wheels", name, "9", {f"{name}_link.pth": f"{folder / 'links'}\n"}, (2020, 1, 1))
    wheel(folder / "wheels", "fake_extra", "1.1", {"fake_extra.py": ""}, (2020, 1, 1))
    for version, day, finish in (
        ("1.0", (2021, 3, 1), "output"),
        ("1.1", (2021, 6, 1), f"(time.sleep({SLEEP_S}), output)[1]"),
        ("2.0", (2022, 1, 15), "output"),
        ("3.0", (1980, 1, 1), "output"),
    ):
        wheel(folder / "wheels", "fake_conv", version, {"fake_conv.py": library(version, finish)["fake_conv.py"]}, day)
    write({"mine.toml": SUITE}, folder)
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("asv.conf.json", ".gitignore"):
        shutil.copy(ROOT / name, checkout)
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "all"]):
        git(checkout, *words)
    first = releases(folder, "fake_conv", "--versions", "2.0,1.0", cwd=checkout)
    second = releases(folder, "fake-conv", "--versions", "1.0,1.1", "--versions", "2.0", cwd=checkout)
    for name, done in (("first", first), ("second", second)):
        assert done.returncode == 0, done.stderr
        (folder / name).write_text(done.stdout + done.stderr)


@pytest.fixture
def measured(place: Path) -> Path:
    """The checkout in which releases were measured."""
    return place / "checkout"


def journals(checkout: Path) -> list[Path]:
    return sorted((checkout / "results" / "here").glob("*.jsonl"))


def git(folder: Path, *words: str) -> str:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    done = subprocess.run(["git", *author, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def releases(place: Path, library: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", "releases", *words, "--quick", "--suite", str(place / "mine.toml")]
    if "--environments" not in words:
        command += ["--environments", str(place / "environments")]
    command += ["--plugin", str(PLUGIN), "--", library]
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | pip | {"CONVBENCH_MACHINE": "here"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, env=variables)


def asv(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "asv", *words], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- the whole way ----------------------------------------------------------------------------------------------------


def test_all_releases_are_measured_in_one_session_each_with_its_date(measured: Path) -> None:
    frame = convbench.load(journals(measured)[-1])
    assert set(frame["status"]) == {"ok"} and len(frame) == 3 * CASES
    assert frame["session"].nunique() == 1
    found = {row.backend: row.release for row in frame.itertuples()}
    assert found == {
        "fake-conv@1.0": {"library": "fake-conv", "version": "1.0", "date": "2021-03-01"},
        "fake-conv@1.1": {"library": "fake-conv", "version": "1.1", "date": "2021-06-01"},
        "fake-conv@2.0": {"library": "fake-conv", "version": "2.0", "date": "2022-01-15"},
    }
    for backend, versions in zip(frame["backend"], frame["versions"], strict=True):
        assert set(versions.values()) == {backend.partition("@")[2], "{}.{}.{}".format(*sys.version_info[:3])}
    slow = frame[frame["backend"] == "fake-conv@1.1"]["median_s"]
    assert (slow >= SLEEP_S).all()


def test_the_table_says_what_got_slower_and_how_to_see_more(measured: Path) -> None:
    told = (measured.parent / "second").read_text()
    rows = re.findall(r"^fake-conv +(\S+) +(\d{4}-\d\d-\d\d) +2 .*?(slower|faster|level)? *$", told, re.MULTILINE)
    assert rows == [
        ("1.0", "2021-03-01", ""),
        ("1.1", "2021-06-01", "slower"),
        ("2.0", "2022-01-15", "faster"),
    ]
    assert "cd .asv/releases && asv compare fake-conv-1.0 fake-conv-2.0" in told


def test_asv_has_a_dated_tagged_point_for_each_release_in_order(measured: Path) -> None:
    history = measured / ".asv" / "releases" / "history"
    log = git(measured, f"--git-dir={history}", "log", "--format=%D %aI", "fake-conv", "--reverse").splitlines()
    assert [line.replace("HEAD -> ", "").replace(", fake-conv", "") for line in log] == [
        "tag: fake-conv-1.0 2021-03-01T00:00:00+00:00",
        "tag: fake-conv-1.1 2021-06-01T00:00:00+00:00",
        "tag: fake-conv-2.0 2022-01-15T00:00:00+00:00",
    ]


def test_asv_shows_the_medians_of_the_journal(measured: Path) -> None:
    frame = convbench.load(journals(measured)[-1])
    medians = frame[frame["backend"] == "fake-conv@1.1"].set_index("case")["median_s"]
    shown = asv(measured / ".asv" / "releases", "show", "fake-conv-1.1", "-b", "Mine.track_time")
    scale = {"ns": 1e-9, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
    cases = re.findall(r"n1c\S+", shown)  # a column each
    times = re.findall(r"\s([\d.]+)(?:±\S*?)?(ns|μs|ms|s)\b", shown[shown.index("fake-conv ") :])
    assert len(cases) == CASES
    for case, (value, unit) in zip(cases, times, strict=True):
        assert float(value) * scale[unit] == pytest.approx(medians[case], rel=0.01)


def test_asv_compares_two_releases_by_their_tags(measured: Path) -> None:
    compared = asv(measured / ".asv" / "releases", "compare", "fake-conv-1.1", "fake-conv-2.0")
    assert "<fake-conv-1.1>" in compared and "<fake-conv-2.0>" in compared
    ratios = re.findall(r"\| *~?([\d.]+) *\| track\.Mine\.track_time\('fake-conv', ", compared)
    assert len(ratios) == CASES, compared
    assert all(float(ratio) < 1 for ratio in ratios)


def test_asv_publishes_the_releases_as_one_series(measured: Path) -> None:
    folder = measured / ".asv" / "releases"
    asv(folder, "publish", "--no-pull")
    index = json.loads((folder / "html" / "index.json").read_text())
    by_date = sorted(index["tags"], key=lambda tag: index["revision_to_date"][str(index["tags"][tag])])
    assert by_date == ["fake-conv-1.0", "fake-conv-1.1", "fake-conv-2.0"]
    assert sorted(index["tags"].values()) == [0, 1, 2]
    (graph,) = (p for p in (folder / "html").rglob("track.Mine.track_time.json") if "summary" not in p.parts)
    assert [revision for revision, _ in json.loads(graph.read_text())] == [0, 1, 2]


def test_the_checkout_and_its_history_are_as_they_were(measured: Path) -> None:
    assert git(measured, "status", "--porcelain") == ""
    assert git(measured, "for-each-ref", "--format=%(refname)") == "refs/heads/main"
    assert git(measured, "rev-list", "--all", "--count") == "1"
    assert not list((measured / "results").rglob("benchmarks.json"))


def test_what_was_made_is_what_the_journals_say_and_no_more(measured: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    text = journals(measured)[0].read_text().replace('"machine":"here"', '"machine":"there"')
    hostile = [
        {"library": "fake-conv", "version": "../../x", "date": "2021-03-01"},
        {"library": "fake-conv", "version": "7.0", "date": "tomorrow"},
        {"library": "--upload-pack=x", "version": "7.0", "date": "2021-03-01"},
        {"library": "fake-conv", "version": 7, "date": "2021-03-01"},
        {"library": "fake-conv"},
        ["fake-conv"],
    ]
    record = json.loads(text.splitlines()[0])
    lines = [json.dumps(record | {"release": release}) for release in hostile]
    lines.append(json.dumps(record | {"machine": {"machine": "../outside"}}))
    (tmp_path / "there" / "x.jsonl").write_text("\n".join([*text.splitlines(), *lines, '{"case": "torn']))
    made = write_release_history(tmp_path)
    assert made.refusal is None
    assert made.tags == ("fake-conv-1.0", "fake-conv-2.0")
    assert made.values == 2 * CASES * METRICS
    assert "fake-conv-1.0" in asv(tmp_path / "releases", "show", "fake-conv-1.0")
    assert not (tmp_path / "outside").exists() and not list(tmp_path.rglob("x.json"))


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fake-conv", "--versions", "1.0,8.8"], "fake-conv 8.8 could not be installed: "),
        (["fake-conv", "--versions", "3.0"], "Give --dates 3.0=YYYY-MM-DD"),
        (["fake-conv", "--versions", "1.0", "--dates", "1.0=soon"], "it should be like 1.20.1=2024-11-21"),
        (["fake-conv", "--versions", "1.0", "--dates", "2.0=2021-01-01"], "not among --versions"),
        (["fake-conv", "--versions", "newest"], "'newest' is no version"),
        (["fake-conv", "--versions", "1.0,"], "'' is no version"),
        (["fake-conf", "--versions", "1.0"], "no backend requires 'fake-conf'. Did you mean 'fake-conv'?"),
        (["-e ./x", "--versions", "1.0"], "is no name of a library"),
        (["fake-conv", "--versions", "1.0", "--with", "2.0:numpy<2"], "not among --versions"),
        (["fake-conv", "--versions", "1.0", "--python", "/nowhere"], "there is no /nowhere"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(
    place: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    done = releases(place, *words, "--results", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not list(tmp_path.rglob("*.jsonl"))


def test_pip_s_own_words_are_told(place: Path, tmp_path: Path) -> None:
    done = releases(place, "fake-conv", "--versions", "8.8", cwd=tmp_path)
    assert "No matching distribution found for fake-conv==8.8" in done.stderr
    assert "from versions: 1.0, 1.1, 2.0, 3.0" in done.stderr


# --- the environments -------------------------------------------------------------------------------------------------


def test_environments_are_made_once(place: Path) -> None:
    first, second = (place / "first").read_text(), (place / "second").read_text()
    assert (first.count("was made in"), first.count("was kept")) == (2, 0)
    assert (second.count("was made in"), second.count("was kept")) == (1, 2)


def test_an_environment_whose_library_was_changed_is_made_anew(place: Path, tmp_path: Path) -> None:
    words = ("--versions", "1.0", "--no-asv", "--json", "--environments", str(tmp_path / "environments"))
    shutil.copytree(place / "environments", tmp_path / "environments", symlinks=True)
    (site,) = (tmp_path / "environments").glob("fake-conv-1.0-*/lib/python*/site-packages")
    metadata = site / "fake_conv-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.5"))
    done = releases(place, "fake-conv", *words, "--results", str(tmp_path / "results"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "was made in" in done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(r["backend"], r["versions"]["fake_conv"]) for r in records} == {("fake-conv@1.0", "1.0")}


def test_further_requirements_make_another_environment_and_may_be_for_some_releases_alone(
    place: Path, tmp_path: Path
) -> None:
    results = ("--results", str(tmp_path / "results"))
    with_extra = ("--with", "1.1:fake-extra=={version}", "--dates", "1.1=2030-02-03,1.0=2030-01-02")
    done = releases(place, "fake-conv", "--versions", "1,1.1", *with_extra, *results, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pythons = dict(re.findall(r"^fake-conv (\S+): its environment, (\S+), was", done.stderr, re.MULTILINE))
    sites = {version: next(Path(p).parents[1].glob("lib/python*/site-packages")) for version, p in pythons.items()}
    assert (sites["1.1"] / "fake_extra.py").exists() and not (sites["1.0"] / "fake_extra.py").exists()
    history = tmp_path / "results" / "releases" / "history"
    dates = git(tmp_path, f"--git-dir={history}", "log", "--format=%as", "--reverse", "fake-conv").split()
    assert dates == ["2030-01-02", "2030-02-03"]


def test_without_asv_there_is_a_journal_and_nothing_else(place: Path, tmp_path: Path) -> None:
    done = releases(place, "fake-conv", "--versions", "2.0", "--no-asv", "--results", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".jsonl"]) == 1
    assert {path.name for path in files if path.suffix != ".jsonl"} <= {PAIRS, TIMES}, "what the machine varies by"


# --- versions ---------------------------------------------------------------------------------------------------------

numbers = st.lists(st.integers(0, 99), min_size=1, max_size=4)


@given(numbers, st.integers(0, 3))
def test_trailing_zeros_mean_nothing_in_a_version(parts: list[int], zeros: int) -> None:
    assert same_version(".".join(map(str, parts)), ".".join(map(str, [*parts, *[0] * zeros])))


@given(numbers, numbers)
def test_two_versions_are_the_same_when_their_numbers_are(one: list[int], other: list[int]) -> None:
    longest = max(len(one), len(other))
    padded = [parts + [0] * (longest - len(parts)) for parts in (one, other)]
    assert same_version(".".join(map(str, one)), ".".join(map(str, other))) == (padded[0] == padded[1])


@pytest.mark.parametrize(
    ("asked", "installed", "same"),
    [
        ("2.9.0", "2.9.0+cpu", True),
        ("2.9", "2.9.0+cpu", True),
        ("2.9.0+cpu", "2.9.0+cpu", True),
        ("2.9.0+cpu", "2.9.0", False),
        ("2.9.0+cpu", "2.9.0+cu128", False),
        ("1.0rc1", "1.0rc1", True),
        ("1.0-rc1", "1.0rc1", True),
        ("1!1.0", "1!1.0.0", True),
        ("1!1.0", "1.0", False),
        ("1.0-1", "1.0.post1", True),
        ("no version", "no version", True),
        ("no version", "1.0", False),
        ("1.0rc1", "1.0", False),
        ("1.0", "1.0rc1", False),
        ("1.10", "1.1", False),
        ("10", "1", False),
        ("v1.2", "1.2", True),
    ],
)
def test_what_counts_as_the_version_that_was_asked_for(asked: str, installed: str, same: bool) -> None:
    assert same_version(asked, installed) is same


# --- history ----------------------------------------------------------------------------------------------------------


def test_equal_releases_make_equal_hashes_and_the_order_is_that_of_the_dates(tmp_path: Path) -> None:
    made = [
        Release("a", "1.10", "2020-05-05"),
        Release("a", "1.10-rc1", "2020-05-05"),
        Release("a", "1.9", "2020-05-05"),
        Release("a", "2.0", "2020-01-01"),
        Release("b", "1.0", "2021-01-01"),
    ]
    one, other = make_history(tmp_path / "one", made), make_history(tmp_path / "other", reversed(made))
    assert one == other and len(set(one.values())) == 5
    assert git(tmp_path, "--git-dir=one", "log", "--reverse", "--format=%s", "a").splitlines() == [
        "a 2.0",
        "a 1.9",
        "a 1.10-rc1",
        "a 1.10",
    ]


@pytest.mark.parametrize("version", ["", "a..b", "1..2", "1/2", "-1", "1.0 ", "1~2", "1.lock", "1.", "1\n", None, 1])
def test_what_cannot_be_a_tag_is_no_release(version: Any) -> None:
    assert not is_sound(Release("a", version, "2020-01-01"))


@given(st.from_regex(r"[0-9]+([.!+_-]?[A-Za-z0-9]+)*", fullmatch=True))
def test_what_counts_as_a_release_git_takes_as_a_tag(version: str) -> None:
    release = Release("a", version, "2020-01-01")
    taken = subprocess.run(["git", "check-ref-format", f"refs/tags/{tag(release)}"], check=False).returncode == 0
    assert is_sound(release) == (taken and version.isascii())


def test_a_results_folder_of_a_checkout_has_its_history_beside_it(place: Path, tmp_path: Path) -> None:
    checkout = place / "checkout"
    assert history_folder(checkout / "results") == (checkout / ".asv" / "releases").resolve()
    assert history_folder(tmp_path / "results") == (tmp_path / "results" / "releases").resolve()


# --- requirements -----------------------------------------------------------------------------------------------------


def test_what_the_backends_that_come_along_require_can_be_installed() -> None:
    found = {e.name: [str(r).replace("'", '"') for r in requirements(e.backend)] for e in discover()}
    assert found["onnxruntime"] == ["onnxruntime", "onnx"]
    assert found["scipy-fft"] == ["numpy", "scipy"]
    assert found["opencv"] == ["opencv-python-headless", "onnx"]
    assert found["tensorflow"] == [
        'tensorflow-cpu; sys_platform != "darwin"',
        'tensorflow; sys_platform == "darwin"',
    ]
    assert all(found.values())


class Installs(Backend):
    name = "x"

    def __init__(self, install: str | None, *requires: str) -> None:
        self.install, self.requires = install, requires

    def prepare(self, problem: Any, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("backend", "wanted"),
    [
        (Installs(None, "my_lib.fast", "my_lib.slow", "numpy"), ["my-lib", "numpy"]),
        (Installs("'My.Lib[gpu,fast]>=3' other", "my_lib"), ["my-lib[fast,gpu]", "other"]),
        (Installs("--pre lib", "lib"), ["lib"]),
        (Installs("'convbench[numba]'", "numba"), ["numba"]),
        (Installs(None), []),
    ],
)
def test_requirements_are_read_from_install_or_else_from_the_modules(backend: Backend, wanted: list[str]) -> None:
    assert [str(r) for r in requirements(backend)] == wanted


# --- dates from an index ----------------------------------------------------------------------------------------------

FILES = [
    {"filename": "my_lib-1.0-py3-none-any.whl", "upload-time": "2020-02-03T23:59:00.1Z"},
    {"filename": "my_lib-1.0.0-cp311-cp311-linux.whl", "upload-time": "2020-02-02T01:02:03Z"},
    {"filename": "my-lib-1.1.tar.gz", "upload-time": "2020-03-04T00:00:00Z"},
    {"filename": "my_lib-1.10-py3-none-any.whl", "upload-time": "2020-04-05T00:00:00Z"},
    {"filename": "my_lib-2.0-py3-none-any.whl"},
    {"filename": 7, "upload-time": "2020-04-05T00:00:00Z"},
    {"filename": "my_lib-2.1-py3-none-any.whl", "upload-time": "yesterday"},
    "my_lib-3.0-py3-none-any.whl",
]


class Served(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        secret = base64.b64encode(b"me:p@ss").decode()
        is_known = self.path == "/simple/my-lib/"
        if self.path == "/private/my-lib/":
            is_known = self.headers.get("Authorization") == f"Basic {secret}"
        in_json = "application/vnd.pypi.simple.v1+json" in self.headers.get("Accept", "")
        told = json.dumps({"files": FILES}) if is_known and in_json else "<html></html>"
        self.send_response(200 if is_known or self.path.startswith("/html/") else 404)
        self.end_headers()
        self.wfile.write(told.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_day_of_a_release_is_when_its_first_file_was_uploaded(index: str) -> None:
    dates = upload_dates("My.Lib", ["1", "1.1", "1.10+cpu", "2.0", "2.1", "3.0"], Index((f"http://{index}/simple/",)))
    assert dates == {"1": "2020-02-02", "1.1": "2020-03-04", "1.10+cpu": "2020-04-05"}


def test_indexes_that_do_not_tell_are_passed_over_and_passwords_go_along(index: str) -> None:
    silent = (f"http://{index}/html", f"http://{index}/nothing", "http://127.0.0.1:9/simple", "http://[", "nonsense")
    assert upload_dates("my-lib", ["1.1"], Index(silent)) == {}
    private = f"http://me:p%40ss@{index}/private"
    assert upload_dates("my-lib", ["1.1"], Index((*silent, private))) == {"1.1": "2020-03-04"}
    assert upload_dates("my-lib", ["1.1"], Index((f"http://me:no@{index}/private",))) == {}


def test_the_index_is_the_one_that_pip_is_configured_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (default,) = configured_index().urls
    assert default.startswith("https://")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://b/simple file:///c")
    assert configured_index().urls == (default, "http://b/simple")
    monkeypatch.setenv("PIP_INDEX_URL", "http://a/simple")
    monkeypatch.setenv("PIP_CERT", "/x.pem")
    assert configured_index() == Index(("http://a/simple", "http://b/simple"), "/x.pem")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert configured_index() == Index()


def test_to_ask_for_pip_leaves_setuptools_as_it_was() -> None:
    """A compiler of extensions, such as torch's, imports setuptools in the same process later."""
    code = "from convbench.measurement.environments.releases import has_pip; print(has_pip()); import setuptools"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
