"""`convbench.verify`: values that print as the command does; nothing is written unless a place is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from places import PLUGINS

import convbench
from convbench.errors import ConvbenchError
from convbench.problem import ConvProblem

PLUGIN = PLUGINS / "doubtful.py"
CASE = "n1c2h1w1_o2k1_g2"


def test_a_plugin_s_failures_are_values_with_their_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = convbench.verify(
        "wrong-in-groups", plugin=PLUGIN, question=[CASE, ConvProblem.parse("n1c1h3w3_o1k1")], progress=False
    )
    [failure] = result.failures
    assert (failure["backend"], failure["case"], failure["known"]) == ("wrong-in-groups", CASE, None)
    assert failure["report"].startswith("# wrong-in-groups") and "report_file" not in failure
    assert (result.exit_code, result.ok, result.interrupted) == (1, False, False)
    assert list(result.frame["backend"]) == ["wrong-in-groups"] and list(result.frame["cases"]) == [2]
    assert "wrong-in-groups, cause 1 of 1" in str(result) and "<pre" in result._repr_html_()
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_a_path_is_a_plugin_and_results_are_kept_where_asked(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    first = convbench.verify(PLUGIN, question=CASE, results=tmp_path, write_known=known, jobs=2, question_limit=5)
    assert {row["backend"] for row in first.records} > {"right", "wrong-in-groups", "slow"}
    assert all(Path(failure["report_file"]).exists() for failure in first.failures)
    second = convbench.verify("wrong-*", plugin=PLUGIN, question=CASE, known=known, accept_known=True)
    assert second.ok and [failure["known"] is None for failure in second.failures] == [False, False]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strength": 5}, "strength is 5"),
        ({"time_limit": -1.0}, "time_limit is -1.0"),
        ({"question": "nonsense"}, "names no convolution"),
        ({"known": "missing.toml"}, "there is no such file"),
        ({"resume": True}, "results=True"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConvbenchError, match=told):
        convbench.verify("right", plugin=PLUGIN, **options)  # type: ignore[arg-type]
