"""What a choice costs against knowing everything: of `choose`'s race, and of predictions for layers never measured.

    python evaluation/statistics/regret.py FOLDER [--layers 100] [--further 100] [--backend GLOB ...] [--processes 1]
                                       [--exhaustive 1] [--race-processes 1] [--minutes M]

Four steps, each kept in FOLDER and not repeated (an interrupted exhaustive run is resumed): an exhaustive
`convbench run` over zoo-100; `convbench choose` over the same layers, which sees none of its records; `convbench run
--quick` over further layers of zoo-1000; and the tables.

Regret is how much longer the chosen backend takes than the fastest of all, by the medians of the exhaustive run, where
both were sampled in the same rounds. The fastest of noisy medians is a little too fast, so regret is not 0 even for the
best choice. On a noisy machine, or where fresh processes of a backend differ, --processes 2 runs two processes of each
backend in the exhaustive run, and --exhaustive 2 adds a second such run at the end, at another hour. Times are then the
geometric means of both, and each run judges the best of the other, which shows what no method can avoid. Measuring time
is that of samples alone, in one process of each backend; the commands' whole time includes preparing, verifying and
starting. Predictions are made from the first exhaustive run's records, and from those of the race. Layers with more
than --macs multiply-adds are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from convbench.analysis.prediction.layer_time import Predicted, Predictor
from convbench.extraction.suite_text import suite_text
from convbench.measurement.machine.facts import machine_facts
from convbench.problem import ConvProblem
from convbench.store.records import records
from convbench.suite import Suite, load_suite

BACKENDS = (
    "onednn", "onnxruntime", "openvino", "openvino-channels-last", "ncnn", "litert", "numba-direct", "torch",
    "torch-channels-last", "torch-packed", "jax-nhwc", "opencv-classic",
)  # fmt: skip
Times = dict[str, dict[str, float]]
"""Seconds by case id and backend."""


# --- measuring ----------------------------------------------------------------------------------------------------


def measured(folder: Path, name: str, words: Sequence[str], deadline: float, attempts: str = "") -> bool:
    """Run `convbench WORDS` with its results in FOLDER/name, unless that is done; False where time ran out first."""
    done = folder / f"{name}.done"
    if done.exists():
        return True
    command = [sys.executable, "-m", "convbench", *words, "--results", str(folder / name), "--json"]
    if attempts and (folder / name).exists():
        command.append(attempts)
    print(f"{name}: convbench {' '.join(words)}", file=sys.stderr, flush=True)
    start = time.monotonic()
    with (folder / f"{name}.jsonl").open("w") as out, (folder / f"{name}.log").open("a") as log:
        process = subprocess.Popen(command, stdout=out, stderr=log)
        try:
            process.wait(max(1.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.terminate()
            process.wait()
    with (folder / f"{name}.seconds").open("a") as seconds:
        seconds.write(f"{time.monotonic() - start:.1f}\n")
    if process.returncode not in (0, 1):  # 1: somebody was wrong, which is kept
        print(f"{name}: not finished (exit code {process.returncode}); see {folder / name}.log", file=sys.stderr)
        return False
    done.touch()
    return True


def write_suites(folder: Path, layers: int, further: int, most_macs: int, seed: int) -> None:
    """The layers of zoo-100 (or some of them), and further ones of zoo-1000, drawn by `seed`; kept once written."""
    if (folder / "further.toml").exists():
        return
    rng = np.random.default_rng(seed)
    first, more = load_suite("zoo-100"), load_suite("zoo-1000")
    known = {case.problem for case in first.cases}
    for name, suite, number in (("measured", first, layers), ("further", more, further)):
        cases = [c for c in suite.cases if c.problem.macs <= most_macs and (suite is first or c.problem not in known)]
        chosen = sorted(rng.permutation(len(cases))[:number])
        found = Suite(name, suite.summary, (), tuple(replace(cases[i], layer=None) for i in chosen), Path())
        (folder / f"{name}.toml").write_text(suite_text(found), encoding="utf-8")


# --- what was measured ----------------------------------------------------------------------------------------------


def times_of(found: Iterable[Mapping[str, Any]]) -> Times:
    """The medians of right answers."""
    times: Times = {}
    for record in found:
        if record["status"] == "ok" and (record.get("median_s") or 0) > 0:
            times.setdefault(record["case_id"], {})[record["backend"]] = record["median_s"]
    return times


def sampling_s(found: Iterable[Mapping[str, Any]]) -> float:
    """Seconds spent in samples, in one process of each backend."""
    total = 0.0
    for record in found:
        samples = record.get("samples") or {}
        in_all = sum(w * n for w, n in zip(samples.get("wall_s", ()), samples.get("calls", ()), strict=True))
        total += in_all / record["processes"]
    return total


def whole_s(folder: Path, name: str) -> float:
    """Seconds that the command took, all of its parts together."""
    return sum(float(line) for line in (folder / f"{name}.seconds").read_text().split())


def chosen_by_race(folder: Path) -> dict[str, str]:
    """The backend that `choose` named, by case id."""
    lines = [json.loads(line) for line in (folder / "race.jsonl").read_text().splitlines()]
    return {line["case_id"]: line["choice"]["backend"] for line in lines if line["type"] == "layer" and line["choice"]}


# --- what is printed ----------------------------------------------------------------------------------------------


def regrets(chosen: Mapping[str, str], truth: Times) -> dict[str, float]:
    """By case id, how much longer the chosen backend takes than the fastest, as a share of that."""
    common = [case for case, backend in chosen.items() if backend in truth.get(case, {})]
    return {case: truth[case][chosen[case]] / min(truth[case].values()) - 1 for case in common}


def print_heading(label: str) -> None:
    print(f"\n{label:44} {'mean':>6} {'median':>7} {'90 %':>7} {'worst':>7} within 2 %")


def print_regret(label: str, chosen: Mapping[str, str], truth: Times, show: int = 0) -> None:
    found = regrets(chosen, truth)
    if not found:
        print(f"{label:44} nothing to compare")
        return
    values = 100 * np.array(list(found.values()))
    lost = len(truth) - len(found)
    without = f"; {lost} layers without a choice" if lost else ""
    print(
        f"{label:44} {values.mean():6.2f} {np.median(values):7.2f} {np.quantile(values, 0.9):7.2f} {values.max():7.2f}"
        f" {(values <= 2).sum():4d} of {len(values)}{without}"
    )
    for case in sorted(found, key=lambda case: -found[case])[:show]:
        best = min(truth[case], key=truth[case].__getitem__)
        if found[case] > 0.02:
            took, least = truth[case][chosen[case]] * 1e3, truth[case][best] * 1e3
            print(f"    {case}: {chosen[case]} {took:.4f} ms, {best} {least:.4f} ms")


def print_sure(label: str, chosen: Mapping[str, str], runs: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Of the regret that which is left where the chosen backend's interval begins and another's ends, an interval being
    from the least to the most that any run says: two processes of one backend were seen to differ by 1.6 times, and
    then nobody knows which is the fastest."""
    bounds: dict[str, dict[str, tuple[float, float]]] = {}
    for r in (record for run in runs for record in run):
        if r["status"] == "ok" and (r.get("low_s") or 0) > 0:
            of_case = bounds.setdefault(r["case_id"], {})
            low_s, high_s = of_case.get(r["backend"], (r["low_s"], r["high_s"]))
            of_case[r["backend"]] = min(low_s, r["low_s"]), max(high_s, r["high_s"])
    sure = [
        max(0.0, bounds[case][backend][0] / min(high for _, high in bounds[case].values()) - 1)
        for case, backend in chosen.items()
        if backend in bounds.get(case, {})
    ]
    values = 100 * np.array(sure)
    print(
        f"{label:44} {values.mean():6.2f} {np.median(values):7.2f} {np.quantile(values, 0.9):7.2f} {values.max():7.2f}"
        f" {(values <= 2).sum():4d} of {len(values)}"
    )


def single_best(truth: Times) -> dict[str, str]:
    """For every layer the one backend that has the least time, as a geometric mean, of those that computed all."""
    everywhere = set.intersection(*({*times} for times in truth.values()))
    best = min(everywhere, key=lambda b: np.mean([np.log(times[b]) for times in truth.values()]), default=None)
    return dict.fromkeys(truth, best) if best else {}


def joined(runs: Sequence[Times]) -> Times:
    """Of each backend the geometric mean over `runs`, where all of them have it."""
    common = set.intersection(*({*run} for run in runs))
    return {
        case: {
            backend: float(np.exp(np.mean([np.log(run[case][backend]) for run in runs])))
            for backend in set.intersection(*({*run[case]} for run in runs))
        }
        for case in common
    }


def print_race(folder: Path, names: Sequence[str]) -> None:
    """What the race cost, by the exhaustive runs of these names."""
    runs, race = [list(records(folder / name)) for name in names], list(records(folder / "race"))
    times = [times_of(run) for run in runs]
    truth, chosen = joined(times), chosen_by_race(folder)
    print_heading(f"regret over {len(truth)} layers, %")
    print_regret("choose", chosen, truth, show=5)
    print_sure("of that is beyond doubt", chosen, runs)
    for number, name in enumerate(names if len(names) > 1 else ()):
        own, others = times[number], times[:number] + times[number + 1 :]
        print_regret(f"choose, by {name} alone", chosen, own)
        best = {case: min(found, key=found.__getitem__) for case, found in joined(others).items()}
        print_regret(f"the best of the other run, by {name}", best, own)
    print_regret("the single best backend for all", single_best(truth), truth)
    every = np.mean([sampling_s(run) for run in runs]), np.mean([whole_s(folder, name) for name in names])
    for label, all_s, few in zip(
        ("seconds of sampling", "seconds in all"), every, (sampling_s(race), whole_s(folder, "race")), strict=True
    ):
        print(f"{label:44} exhaustive run {all_s:.0f}, choose {few:.0f}: {few / all_s:.0%}")


def print_predictions(folder: Path) -> None:
    found = list(records(folder / "further"))
    truth = times_of(found)
    problems = {r["case_id"]: ConvProblem(**r["problem"]) for r in found}
    print_heading(f"regret over {len(truth)} further layers, %")
    lines = []
    for source in ("exhaustive", "race"):
        start = time.perf_counter()
        predictor = Predictor(records(folder / source))
        ranked = {case: [p for p in predictor.rank(problems[case]) if p.backend in truth[case]] for case in truth}
        seconds = time.perf_counter() - start
        print_regret(
            f"predicted from the records of {source}", {c: o[0].backend for c, o in ranked.items() if o}, truth, show=5
        )
        every = [(p, truth[case][p.backend]) for case, order in ranked.items() for p in order]
        first = [(order[0], truth[case][order[0].backend]) for case, order in ranked.items() if order]
        error = np.median([abs(np.log(took / p.call_s)) for p, took in every]) if every else np.nan
        width = np.median([p.high_s / p.low_s for p, _ in every]) if every else np.nan
        lines.append(
            f"{source:10} {covered(every)} of {len(every)} intervals cover, of the chosen {covered(first)}; "
            f"median error {error:.1%}, median width {width:.2f}x; {seconds:.1f} s"
        )
    print_regret("the single best backend for all", single_best(truth), truth)
    print("\n" + "\n".join(lines))


def covered(pairs: Sequence[tuple[Predicted, float]]) -> str:
    """The share of the predictions whose interval holds what was measured."""
    return f"{np.mean([p.low_s <= took <= p.high_s for p, took in pairs]):.1%}" if pairs else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything measured is kept")
    parser.add_argument("--layers", type=int, default=100, help="of zoo-100")
    parser.add_argument("--further", type=int, default=100, help="of zoo-1000, without those of zoo-100")
    parser.add_argument("--backend", action="append", default=[], help="a glob; repeatable")
    parser.add_argument("--processes", type=int, default=1, help="of each backend, in an exhaustive run")
    parser.add_argument("--exhaustive", type=int, default=1, help="how many exhaustive runs")
    parser.add_argument("--race-processes", type=int, default=1, help="of each backend, in the race")
    parser.add_argument("--macs", type=int, default=1_000_000_000, help="the most multiply-adds of a layer")
    parser.add_argument("--minutes", type=float, default=25.0, help="of measuring at most; the same command goes on")
    parser.add_argument("--seed", type=int, default=0, help="of the further layers")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_suites(options.folder, options.layers, options.further, options.macs, options.seed)
    backends = [word for name in options.backend or BACKENDS for word in ("--backend", name)]
    zoo, further = (str(options.folder / f"{name}.toml") for name in ("measured", "further"))
    deadline = time.monotonic() + 60 * options.minutes
    run = ["run", "--no-asv", "--no-self-check", *backends]
    every = [*run, "--suite", zoo, "--processes", str(options.processes)]
    exhaustive = ["exhaustive", *(f"exhaustive-{number}" for number in range(2, options.exhaustive + 1))]
    steps = (
        ("exhaustive", every, "--resume"),
        ("race", ["choose", "--suite", zoo, "--processes", str(options.race_processes), *backends], ""),
        ("further", [*run, "--quick", "--suite", further], "--resume"),
        *((name, every, "--resume") for name in exhaustive[1:]),
    )
    finished = {name for name, words, again in steps if measured(options.folder, name, words, deadline, again)}
    facts = machine_facts()
    backends_told = ", ".join(options.backend or BACKENDS)
    print(f"{facts['cpu']}, {facts['vector_isa']}, {facts['os']}, 1 thread\nbackends: {backends_told}")
    print(f"{options.processes} of each backend's processes in an exhaustive run, {options.race_processes} in the race")
    if {*exhaustive, "race"} <= finished:
        print_race(options.folder, exhaustive)
    if {"exhaustive", "race", "further"} <= finished:
        print_predictions(options.folder)
    if len(finished) < len(steps):
        print("\nNot all is measured yet; the same command goes on.")


if __name__ == "__main__":
    main()
