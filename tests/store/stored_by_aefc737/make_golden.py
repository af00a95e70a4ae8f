#!/usr/bin/env python3
"""What a convbench says of the files beside this script: golden.json is what commit aefc737 said.

    python make_golden.py CONVBENCH --output golden.json        # write
    python make_golden.py CONVBENCH --check golden.json         # compare (numbers to 1e-6), leave with 1 if it differs

CONVBENCH is the executable of an environment; its `python` has to stand beside it. Needs nothing but the standard
library. Everything runs in copies in a temporary folder, whose path is `{fixtures}` in what is kept. `--repo` is the
repository with commits aefc737 and a694fab and the new files (by default the one that CONVBENCH's environment lies in);
without one, what is known as `asv ...` is left out. Entries with `needs_cpu` hold on such a CPU only.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CPU = "AMD EPYC"
OLDER, NEWER = "a694fab6", "aefc7372"
COMMANDS = "backends choose compare doctor export extract import machine publish releases run show suites trend verify"
PLUGIN = ["--plugin", "plugins/stored_fakes.py"]


def sha(value: Any) -> str:
    text = value if isinstance(value, (str, bytes)) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def paths(value: Any, prefix: str = "") -> set[str]:
    """The names of all fields, nested ones as `a.b`. What is in `hazards` depends on the machine's mood."""
    if isinstance(value, list):
        return set().union(*(paths(item, prefix) for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, item in value.items():
        name = f"{prefix}{key}"
        found |= {name} | (set() if key == "hazards" else paths(item, f"{name}."))
    return found


def values_by_parameters(file: dict[str, Any], name: str) -> dict[tuple[str, ...], Any] | None:
    """The values of a benchmark in one of asv's files, by backend and case; None where the file has none of it."""
    if name not in file["results"]:
        return None
    columns = dict(zip(file["result_columns"], file["results"][name], strict=False))
    values = columns["result"]
    return None if values is None else dict(zip(itertools.product(*columns["params"]), values, strict=True))


class Golden:
    def __init__(self, convbench: Path, repo: Path | None) -> None:
        self.convbench, self.python, self.repo = convbench, convbench.parent / "python", repo
        self.folder = Path(tempfile.mkdtemp(prefix="stored-"))
        self.found: dict[str, Any] = {}
        self.copies = 0
        self.copy = self.fresh()

    def fresh(self) -> Path:
        """A copy of the files, in which the next commands stand."""
        self.copies += 1
        self.copy = self.folder / f"copy-{self.copies}"
        shutil.copytree(HERE, self.copy, ignore=shutil.ignore_patterns("*.py[co]", "__pycache__", "golden*.json"))
        return self.copy

    def clean(self, text: str, cwd: Path | None = None) -> str:
        return text.replace(str(cwd or self.copy), "{fixtures}").replace(str(self.copy), "{fixtures}")

    def call(self, words: list[str], machine: str = "elsewhere", cwd: Path | None = None, **env: str) -> Any:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("CONVBENCH_", "PYTHON", "GIT_", "VIRTUAL_ENV"))
        }
        kept |= {"HOME": str(self.folder / "home"), "COLUMNS": "200", "NO_COLOR": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        (self.folder / "home").mkdir(exist_ok=True)
        where = cwd or self.copy
        words = [word.replace("{fixtures}", str(self.copy)) for word in words]
        return subprocess.run(
            words,
            cwd=where,
            env=kept | {"CONVBENCH_MACHINE": machine} | env,
            capture_output=True,
            text=True,
            timeout=1200,
        )

    def ask(
        self,
        name: str,
        words: list[str],
        keep: Callable[[Any], Any] | None = None,
        machine: str = "elsewhere",
        cwd: Path | None = None,
        **more: Any,
    ) -> Any:
        """Run convbench and keep its output: JSON lines, or text; with `keep`, its result for the finished process."""
        done = self.call([str(self.convbench), *words], machine, cwd)
        entry: dict[str, Any] = {"argv": words, "exit": done.returncode, **more}
        if machine != "elsewhere":
            entry["CONVBENCH_MACHINE"] = machine
        if keep is not None:
            entry["kept"] = keep(done)
        elif done.stdout:
            text = self.clean(done.stdout, cwd)
            entry |= {"json": [json.loads(x) for x in text.splitlines()]} if "--json" in words else {"stdout": text}
        if done.returncode and not done.stdout:
            entry["stderr"] = self.clean(done.stderr, cwd)
        self.found[name] = entry
        return done

    # --- what is asked ------------------------------------------------------------------------------------------------

    def everything(self) -> dict[str, Any]:
        try:
            self.listings()
            self.reading()
            self.exchange()
            self.from_python()
            self.errors()
            self.resuming()
            self.measuring()
            if self.repo is not None:
                self.asv()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.found

    def listings(self) -> None:
        def suites(done: Any) -> Any:
            rows = lines(done)
            kept: dict[str, Any] = {"fields": sorted(paths(rows))}
            for row in rows:
                names, ids = [c["case"] for c in row["cases"]], [c["case_id"] for c in row["cases"]]
                counts = [c["count"] for c in row["cases"]]
                joined = sha("\n".join(names))
                kept[row["suite"]] = {"cases": len(names), "names": joined, "case_ids": sha("\n".join(ids))}
                kept[row["suite"]] |= {"counts": sha(counts), "first": names[:3], "tags": row["tags"]}
            return kept

        def backends(done: Any) -> Any:
            rows = lines(done)
            static = ("device", "summary", "algorithm", "prepacks", "dtypes", "padding_modes")
            fields = sorted({key for row in rows for key in row})
            return {"fields": fields, "names": [r["backend"] for r in rows]} | {
                "declared": {r["backend"]: sha([r[key] for key in static]) for r in rows}
            }

        self.ask("suites", ["suites", "--json"], suites)
        self.ask("backends", ["backends", "--json"], backends)
        self.ask("show", ["show", "--json", "n1c64h56w56_o64k3_p1"])
        self.ask("show: more", ["show", "--json", "n2c6h15w12_o4k3x2_s2x1_pt2b1l0r3_d2x1_g2_bias_f16"])
        self.ask("show: benchdnn", ["show", "--json", "mb2ic6ih15oc4oh7kh3sh2ph0"])
        self.ask("show: no problem", ["show", "--json", "n1c64h56"])
        self.ask("machine: fields", ["machine", "--json"], lambda done: sorted(lines(done)[0]))
        kept = ("ceilings", "best_convolutions")
        ceilings = ["machine", "--json", "--results", "results"]
        self.ask(
            "machine: ceilings",
            ceilings,
            lambda done: {key: sha(lines(done)[0][key]) for key in kept},
            machine="bench-1",
            needs_cpu=CPU,
        )
        options = {}
        for command in COMMANDS.split():
            done = self.call([str(self.convbench), command, "--help"])
            options[command] = [done.returncode, *sorted(set(re.findall(r"^  .*?(--[a-z-]+)", done.stdout, re.M)))]
        self.found["options"] = options

    def reading(self) -> None:
        a, b, c = sorted(f"results/bench-1/{p.name}" for p in (self.copy / "results/bench-1").glob("*-tiny.jsonl"))
        nights = sorted(f"results/bench-2/{p.name}" for p in (self.copy / "results/bench-2").glob("*.jsonl"))
        first, last = nights[0], nights[-1]
        self.ask("compare: two runs", ["compare", "{fixtures}/" + a, "{fixtures}/" + b, "--json"])
        self.ask("compare: slower", ["compare", first, last, "--json"])
        self.ask("compare: slower, in words", ["compare", first, last])
        self.ask("compare: faster", ["compare", last, first, "--json"])
        self.ask("compare: allowed", ["compare", first, last, "--threshold", "0.9", "--json"])
        self.ask("compare: markdown", ["compare", first, last, "--markdown"])
        self.ask("compare: paired", ["compare", b, b, "--backend", "torch", "--against", "torch-native", "--json"])
        self.ask("compare: broken", ["compare", b, b, "--backend", "torch", "--against", "fixture-wrong", "--json"])
        self.ask("compare: machines", ["compare", "bench-1", "bench-2", "--results", "results", "--json"])
        self.ask("compare: nothing", ["compare", a, first, "--json"])
        self.ask("compare: interrupted", ["compare", c, c, "--json"])
        self.ask("trend", ["trend", "--json", "{fixtures}/results"])
        self.ask("trend: in words", ["trend", "bench-2", "--results", "results"])
        self.ask("trend: markdown", ["trend", "bench-2", "--results", "results", "--markdown"])
        self.ask("trend: old step", ["trend", "bench-2", "--results", "results", "--last", "1", "--json"])
        self.ask("trend: too short", ["trend", a, "--json"])
        from_records = ["choose", "--machine", "bench-1", "--results", "results"]
        layers = ["--suite", "layers.toml"]
        self.ask("choose: recorded", [*from_records, *layers, "--json"])
        self.ask("choose: predicted", [*from_records, "--problem", "n1c24h14w14_o24k3_p1", "--json"])
        self.ask("choose: no records", [*from_records, "--problem", "n1c24h14w14_o24k3_p1", "--threads", "7", "--json"])
        self.ask("choose: no choice", [*from_records, "--problem", "n1c24h14w14_o24k3_p1_f64", "--json"])
        self.ask("choose: no machine", ["choose", "--machine", "bench-3", "--results", "results", *layers, "--json"])
        words = ["choose", "--from-results", "--results", "results", "--problem", "n1c16h14w14_o16k3_p1", "--json"]
        self.ask("choose: here", words, machine="bench-1", needs_cpu=CPU)

        def plan(done: Any) -> Any:
            made = json.loads((self.copy / "again.json").read_text())
            made["versions"] = sorted(made["versions"])
            return made | {"made": None}

        self.ask("choose: plan", [*from_records, *layers, "--plan", "again.json", "--json"], plan)

    def exchange(self) -> None:
        b = sorted(self.copy.glob("results/bench-1/*-tiny.jsonl"))[1]

        def exported(ending: str) -> Callable[[Any], Any]:
            def keep(done: Any) -> Any:
                file = self.copy / f"out.{ending}"
                kept: dict[str, Any] = {"said": self.clean(done.stdout)}
                if ending == "parquet":
                    return kept
                kept["sha"] = sha(file.read_bytes())
                if ending == "csv":
                    with file.open(newline="") as opened:
                        kept["columns"] = next(csv.reader(opened))
                if ending == "jsonl":
                    kept["as stored"] = file.read_bytes() == b.read_bytes()
                return kept

            return keep

        for ending in ("csv", "jsonl", "pyperf.json", "parquet"):
            self.ask(
                f"export: {ending}", ["export", f"results/bench-1/{b.name}", "--to", f"out.{ending}"], exported(ending)
            )
        nights = sorted(self.copy.glob("results/bench-2/*.jsonl"))
        wanted = sorted(map(sha, [*records(nights[0]), *records(nights[-1])]))
        whole = sorted(map(sha, records(b)))
        for name, expected in (("exports/two.csv", wanted), ("out.csv", whole), ("out.parquet", whole)):

            def keep(done: Any, expected: Any = expected) -> Any:
                journals = sorted(self.copy.glob("imported/*/*.jsonl"))
                got = sorted(sha(r) for path in journals for r in records(path))
                shutil.rmtree(self.copy / "imported", ignore_errors=True)
                return {"said": self.clean(done.stdout), "records": len(got), "as stored": got == expected}

            self.ask(f"import: {name}", ["import", name, "--results", "imported"], keep)

    def from_python(self) -> None:
        script = """
import json, warnings, sys
import numpy as np
import convbench
frame = convbench.load("results")
few = convbench.load("results", columns=["case", "backend", "median_s"])
plan = convbench.read_plan("plan.json")
chosen = sorted(plan.choices, key=lambda one: one.case_id)
x, w = np.ones((1, 8, 8, 8), np.float32), np.ones((8, 8, 3, 3), np.float32)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    y = np.asarray(convbench.conv2d(x, w, padding=1, plan=plan))
ok = frame[frame.status == "ok"]
print(json.dumps({
    "rows": len(frame), "columns": list(map(str, frame.columns)), "few": [len(few), *few.columns],
    "statuses": frame.status.value_counts().sort_index().to_dict(),
    "medians": {f"{k[0]} {k[1]}": v for k, v in ok.groupby(["case", "backend"]).median_s.sum().items()},
    "plan": [[c.case_id, c.backend, c.call_s, c.low_s, c.high_s, c.basis, c.count, c.layer, c.reason] for c in chosen],
    "plan fields": [plan.machine, plan.cpu, plan.threads, plan.allocator, plan.dtype, plan.made, plan.default],
    "conv2d": [list(y.shape), float(y.sum())],
}))
"""
        done = self.call([str(self.python), "-c", script])
        kept = json.loads(done.stdout) if done.returncode == 0 else {"stderr": done.stderr}
        self.found["python: load, read_plan, conv2d"] = {"exit": done.returncode, "kept": kept}

    def errors(self) -> None:
        quick = ["--quick", "--results", "new", "--no-asv"]
        self.ask("error: command", ["frobnicate"])
        self.ask("error: command, nearly", ["comapre", "a", "b"])
        self.ask("error: option", ["run", "--siute", "smoke"])
        self.ask("error: backend", ["run", "--suite", "tiny.toml", "--backend", "numpy-gem", *quick])
        self.ask("error: suite", ["run", "--suite", "smokey", *quick])
        self.ask("error: suite, verify", ["verify", "--suite", "szies", "--results", "new"])
        self.ask("error: no such case", ["run", "--suite", "tiny.toml", "--case", "nothing*", *quick])
        self.ask("error: where", ["run", "--suite", "tiny.toml", "--where", "gruops > 1", *quick])
        self.ask("error: dtype", ["choose", "--suite", "tiny.toml", "--dtype", "float23", "--results", "new"])
        self.ask("error: place", ["compare", "nowhere", "nowhere", "--results", "results"])
        self.ask("error: export format", ["export", "results", "--to", "out.xls"])
        self.ask("error: import nothing", ["import", "tiny.toml", "--results", "new"])

    def resuming(self) -> None:
        self.fresh()
        journals = sorted((self.copy / "results/bench-1").glob("*-tiny.jsonl"))
        before = {path: path.read_bytes() for path in journals}

        def keep(done: Any) -> Any:
            rows = lines(done)
            after = {p: p.read_bytes() for p in sorted((self.copy / "results/bench-1").glob("*-tiny.jsonl"))}
            return {
                "records": sorted([r["backend"], r["case"], r["threads"], r["processes"], r["status"]] for r in rows),
                "from": sorted({r["run"] for r in rows}),
                "same files": set(before) == set(after),
                "all kept": all(after[path].startswith(text) for path, text in before.items()),
                "gained": {p.name: len(t.splitlines()) - len(before[p].splitlines()) for p, t in after.items()},
            }

        tiny = [
            "run",
            "--quick",
            "--results",
            "results",
            "--no-asv",
            "--suite",
            "tiny.toml",
            "--case",
            "n1*",
            "--resume",
        ]
        loops = [*tiny, "--backend", "numpy-gemm", "--backend", "numpy-loop", "--json"]
        self.ask("resume: run, interrupted", [*loops, "--threads", "1,2", "--processes", "2"], keep, machine="bench-1")
        before = {path: path.read_bytes() for path in journals}
        names = "numpy-gemm scipy-direct torch jax numba-direct torch-native fixture-wrong fixture-crash fixture-raises"
        names += " fixture-only64 fixture-missing"
        globs = [word for name in names.split() for word in ("--backend", name)]
        tiny[tiny.index("n1*")] = "n1c4*"
        self.ask("resume: run, complete", [*tiny, *PLUGIN, *globs, "--json"], keep, machine="bench-1")

        logs = {path: path.read_bytes() for path in (self.copy / "results/bench-1").glob("*.verification")}
        verify = [
            "verify",
            *PLUGIN,
            "--backend",
            "fixture-wrong-stride",
            "--strength",
            "2",
            "--results",
            "results",
            "--resume",
        ]
        self.ask("resume: verify, complete", [*verify, "--time-limit", "0.75", "--json"], machine="bench-1")

        def campaign(done: Any) -> Any:
            (row,) = lines(done)
            kept = {key: row[key] for key in "status cases searched coverage combinations warned complete".split()}
            after = {path: path.read_bytes() for path in (self.copy / "results/bench-1").glob("*.verification")}
            return kept | {
                "failures": [[f["case"], f["check"], f["failing"], f["found_by"]] for f in row["failures"]],
                "same logs": set(after) == set(logs),
                "all kept": all(after[path].startswith(text) for path, text in logs.items()),
                "corpus": (self.copy / "results/corpus/fixture-wrong-stride.txt").read_text().splitlines(),
            }

        interrupted = [*verify, "--time-limit", "0", "--seed", "1", "--json"]
        self.ask("resume: verify, interrupted", interrupted, campaign, machine="bench-1")

    def measuring(self) -> None:
        """Fields and states of real runs. The entry `fields` has those of a command; a row of a state has all of them
        but what is `lacking`, and `more`."""
        self.fresh()
        known: dict[str, list[str]] = {}

        def fields(done: Any) -> Any:
            rows = lines(done)
            by_status: dict[str, list[Any]] = {}
            for row in rows:
                by_status.setdefault(row.get("type") or row["status"], []).append(row)
            states = sorted([r["backend"], r.get("case", ""), r["status"]] for r in rows if "status" in r)
            whole = known.setdefault(done.args[1], sorted(paths(rows)))
            lacking = {k: sorted(set(whole) - paths(v)) for k, v in sorted(by_status.items())}
            more = {k: sorted(paths(v) - set(whole)) for k, v in sorted(by_status.items())}
            return {"lacking": lacking, "more": more, "states": states}

        quick = ["--quick", "--results", "new", "--no-asv", "--suite", "tiny.toml", *PLUGIN]
        fakes = (
            "numpy-gemm fixture-right fixture-wrong fixture-raises fixture-crash fixture-only64 fixture-missing".split()
        )
        globs = [word for name in fakes for word in ("--backend", name)]
        self.ask("run", ["run", *quick, "--case", "n1c8*", *globs, "--json"], fields)
        right = ["--backend", "fixture-right", "--json"]
        self.ask("run: all right", ["run", *quick, *right], fields)
        self.ask(
            "run: processes", ["run", *quick, *right, "--case", "n1c8*", "--processes", "2", "--threads", "1,2"], fields
        )
        self.ask("run: wrong", ["run", *quick, "--backend", "fixture-wrong", "--json"], fields)
        self.ask("run: nothing measured", ["run", *quick, "--backend", "fixture-missing", "--json"], fields)
        self.ask("run: nothing supported", ["run", *quick, "--backend", "fixture-only64", "--json"], fields)
        verify = ["verify", *PLUGIN, "--results", "new", "--jobs", "1", "--json"]
        self.ask("verify: suite", [*verify, "--suite", "tiny.toml", *globs], fields)
        self.ask("verify: right", [*verify, "--suite", "tiny.toml", "--exact", "--backend", "fixture-right"], fields)
        question = ["--question", "n1c1h1w1_o1k1_s1x2_bias", "--backend", "fixture-wrong-stride"]
        self.ask("verify: question", [*verify, *question], fields)
        choose = [
            "choose",
            "--problem",
            "n1c16h14w14_o16k3_p1",
            "--backend",
            "numpy-gemm",
            "--backend",
            "fixture-sleeper",
        ]
        more = [*PLUGIN, "--budget", "0.1", "--results", "new", "--json"]
        self.ask("choose", [*choose, *more], fields)
        self.ask("choose: only wrong", [*choose[:3], "--backend", "fixture-wrong", *more], fields)
        words = [*choose, *more, "--plan", "new-plan.json"]
        self.found["fields"] = known
        self.ask(
            "choose: new plan", words, lambda done: sorted(paths(json.loads((self.copy / "new-plan.json").read_text())))
        )

    def asv(self) -> None:
        """asv's files in a clone that stands at aefc737 with the files of the repository as they are."""
        clone = self.folder / "clone"
        git = ["git", "-C", str(self.repo)]
        subprocess.run(["git", "clone", "-q", str(self.repo), str(clone)], check=True, capture_output=True)
        subprocess.run(
            ["git", "-C", str(clone), "checkout", "-q", "-B", "main", NEWER], check=True, capture_output=True
        )
        for path in clone.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        listed = subprocess.run(
            [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (self.repo / name).is_file():
                (clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.repo / name, clone / name)
        shutil.copytree(HERE / "asv", clone / "results", dirs_exist_ok=True)
        self.ask("asv: compare of convbench", ["compare", OLDER, NEWER, "--json"], cwd=clone, machine="bench-1")
        for name, words in {
            "asv: show": ["show", NEWER, "-b", "Smoke"],
            "asv: compare": ["compare", OLDER, NEWER],
        }.items():
            done = self.call([str(self.python), "-m", "asv", *words], "bench-1", clone)
            text = re.sub(r"(?m)[ \t]+$", "", self.clean(done.stdout, clone))
            self.found[name] = {
                "exit": done.returncode,
                "stdout": [t for t in text.splitlines() if "n/a" not in t and " failed" not in t],
            }
        kept = clone / "results/bench-1" / f"{NEWER}-convbench-py3.11.json"
        old = json.loads(kept.read_text())

        def stored(done: Any) -> Any:
            new = json.loads(kept.read_text())
            gained: dict[str, Any] = {}
            for name in sorted(set(old["results"]) | set(new["results"])):
                was, now = (values_by_parameters(x, name) for x in (old, new))
                if was is None or now is None or not was.keys() <= now.keys():
                    gained[name] = "other" if was and now else "new" if now else "lost"
                else:
                    pairs = [(value, now[key]) for key, value in was.items()]
                    kept_ = all(x == y or x is None for x, y in pairs)
                    gained[name] = [kept_, sum(x is None and y is not None for x, y in pairs)]
            known = json.loads((clone / "results/benchmarks.json").read_text())
            wanted = ("version", "type", "unit", "param_names", "params", "pretty_name")
            digests: dict[str, Any] = {}
            for name, one in sorted(known.items()):
                if (
                    isinstance(one, dict) and one["name"].count(".") > 1
                ):  # the others' version is a digest of their code
                    values = [one.get(key) for key in wanted]
                    digests.setdefault(name.rpartition(".")[0], []).append([name.rpartition(".")[2], *values])
            return {
                "said": [x.strip() for x in (done.stdout + done.stderr).splitlines() if "asv's files" in x],
                "files": sorted(path.name for path in (clone / "results/bench-1").glob("*.json")),
                "kept and gained": gained,
                "benchmarks": {
                    suite: [sorted({x[1] for x in found}), [x[0] for x in found], sha(found)]
                    for suite, found in digests.items()
                },
            }

        words = ["run", "--suite", "smoke", "--quick", "--backend", "scipy-direct", "--case", "*k5*", "--allow-dirty"]
        self.ask("asv: stored beside", words, stored, cwd=clone, machine="bench-1")


def lines(done: Any) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def records(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def differences(a: Any, b: Any, at: str = "") -> list[str]:
    """Where `b` is not as `a`; numbers may differ by a millionth."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for key in {**a, **b} for d in differences(a.get(key, "-"), b.get(key, "-"), f"{at} / {key}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [d for n, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{at} / {n}")]
    if type(a) in (int, float) and type(b) in (int, float):
        return [] if math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) else [f"{at}: {a} -> {b}"]
    return [] if a == b else [f"{at}: {str(a)[:300]!r} -> {str(b)[:300]!r}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("convbench", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--check", type=Path)
    parser.add_argument("--repo", type=Path)
    given = parser.parse_args()
    convbench = given.convbench.absolute()
    repo = given.repo or convbench.parents[2]
    found = Golden(convbench, repo.resolve() if (repo / ".git").exists() else None).everything()
    text = "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n"
    if given.output:
        given.output.write_text(text)
    if given.check is None:
        return 0
    told = differences(json.loads(given.check.read_text()), json.loads(text))
    sys.stdout.write(("\n".join(told) or "as before") + "\n")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
