"""What a cluster file may say, and how a wrong one is refused."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from convbench.analysis.hardware.prices import prices_of
from convbench.cli.main import cli
from convbench.errors import FleetError
from convbench.fleet.cluster.cluster_file import cluster_description
from convbench.fleet.cluster.connection import dask


def described(tmp_path: Path, text: str):  # type: ignore[no-untyped-def]
    file = tmp_path / "c.toml"
    file.write_text(text)
    return cluster_description(str(file))


def test_an_address_is_not_a_file() -> None:
    assert cluster_description("tls://head:8786").address == "tls://head:8786"
    assert cluster_description("head:8786").address == "head:8786"


def test_a_file_has_one_kind_with_its_options_and_prices_by_glob(tmp_path: Path) -> None:
    cluster = described(tmp_path, 'price_per_hour = { "big-*" = 2, "*" = 0.5 }\n[ssh]\nhosts = ["a", "b"]\n')
    assert (cluster.kind, cluster.expected) == ("ssh", 2)
    assert (cluster.price_of("big-1"), cluster.price_of("a")) == (2, 0.5)
    assert described(tmp_path, "[local]\n").expected == 1
    assert described(tmp_path, '[slurm]\npartition = "p"\nnodes = 3\n').expected == 3
    assert described(tmp_path, 'scheduler = "tls://h:1"\nprice_per_hour = 1\n').price_of("any") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[lokal]\n", "Did you mean 'local'"),
        ("[local]\nworker = 2\n", "Did you mean 'workers'"),
        ("[local]\nworkers = 0\n", "above 0"),
        ('[local]\nworkers = "two"\n', "a whole number"),
        ("[ssh]\n", "has no hosts"),
        ("[ssh]\nhosts = [1]\n", "a list of texts"),
        ('[slurm]\npartition = "p"\n', "has no nodes"),
        ("[local]\n[ssh]\nhosts = []\n", "local and ssh"),
        ("currency = 'EUR'\n", "no such table"),
        ("price_per_hour = -1\n[local]\n", "above 0"),
        ("silent_s = true\n[local]\n", "above 0"),
        ("[local\n", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_expected(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=reason):
        described(tmp_path, text)


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(FleetError, match="no such file"):
        cluster_description("nowhere.toml")


def test_prices_are_above_zero() -> None:
    assert prices_of(["a=0.5", "b=c=2"]) == {"a": 0.5, "b=c": 2.0}
    for word in ("a", "a=", "=2", "a=-1", "a=nan"):
        with pytest.raises(FleetError, match="--price"):
            prices_of([word])


@pytest.mark.parametrize("option", [("--ship",), ("--insecure",), ("--machines", "a,b")], ids=lambda words: words[0])
@pytest.mark.parametrize("command", [("run", "--problem", "n1c2h4w4_o2k1"), ("verify",)], ids=lambda words: words[0])
def test_options_of_a_cluster_are_refused_without_one(command: tuple[str, ...], option: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*command, *option])
    assert done.exit_code == 2
    assert f"{option[0]} goes with --cluster; give that, too, or leave it out." in " ".join(done.output.split())


def test_a_part_of_dask_that_takes_over_interrupts_does_not_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "takes_over.py").write_text("import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit())\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    assert dask("takes_over").sys is sys
    assert signal.getsignal(signal.SIGINT) is before
