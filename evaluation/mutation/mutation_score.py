"""How many seeded faults `convbench verify` catches, beside what criteria in common use catch on a sweep of problems.

    python evaluation/mutation/mutation_score.py [--only 'fault-padding*'] [--search-time 60] [--jobs 2] [--json]
    python evaluation/mutation/mutation_score.py --cluster tls://head:8786

Each fault of `faults.py` is verified alone, by the command, until its first failure or the end; and it is called once
for each problem of the command's sweep, and criteria judge those answers, as do the ONNX node tests. A criterion
catches a fault when it objects to an answer without objecting to the correct convolution's, or when there is no answer.
The controls are correct: whoever objects to one is mistaken. Leaves with 1 when `convbench verify` missed a fault, or
objected to a control.

With --cluster, machines that have the faults by `installed_faults.py` verify them, all in one command and each to its
end. The criteria are asked here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from typing import Any

import faults
from mutants_judged import Judged, Verified, judge_plain_calls, verified
from mutation_tables import backends_table, legend, score_table, sentence
from rich.console import Group
from rich.text import Text
from verified_on_cluster import verified_on_cluster

from convbench.reporting.console import print_json, stderr, stdout
from convbench.verification.sweep.covering import sweep

MISSING = Verified("no report", 0, 0.0, reason="no machine has it; installed_faults.py says how it gets there")


def main() -> int:
    options = _options()
    chosen = [b for b in faults.BACKENDS if not options.only or any(fnmatchcase(b.name, glob) for glob in options.only)]
    if not chosen:
        print(f"No backend of faults.py is called {' or '.join(options.only)}.", file=sys.stderr)
        return 2
    judged: list[Judged] = []
    for one in _judged(chosen, options):
        judged.append(one)
        stderr().print(Text(f"[{len(judged)}/{len(chosen)}] {one.backend}: {_told(one)}"), soft_wrap=True)
    order = [backend.name for backend in chosen]
    judged.sort(key=lambda one: order.index(one.backend))
    if options.json:
        print_json(one.as_dict() for one in judged)
    else:
        parts = (backends_table(judged), score_table(judged), legend(judged), sentence(judged))
        stdout().print(Group(*(line for part in parts for line in (part, Text()))))
    return int(not all(one.as_it_should_be for one in judged))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", action="append", metavar="GLOB", help="only these backends of faults.py; repeatable")
    parser.add_argument("--search-time", type=float, default=60.0, metavar="S", help="of the search after the sweep")
    parser.add_argument("--whole", action="store_true", help="verify on after the first failure, too")
    parser.add_argument("--no-verify", action="store_true", help="the criteria alone")
    parser.add_argument("--cluster", metavar="ADDRESS|FILE", help="verify on the machines of this cluster")
    parser.add_argument("--problems", type=int, metavar="N", help="ask the criteria on the first N of the sweep's only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults judged at once")
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")
    return parser.parse_args()


def _judged(backends: list[Any], options: argparse.Namespace) -> Iterator[Judged]:
    """As they are done."""
    questions = sweep(faults.BACKENDS[0]).questions
    case_ids = list(dict.fromkeys(question.problem.case_id for question in questions))[: options.problems]

    def judge(backend: Any) -> Judged:
        one = Judged(backend.name, getattr(backend, "fault", None))
        judge_plain_calls(one, case_ids)
        if elsewhere is not None:
            one.verified = elsewhere.result().get(one.backend, MISSING)
        elif not options.no_verify:
            one.verified = verified(one.backend, options.search_time, options.whole)
        return one

    with ThreadPoolExecutor(1) as beside, ThreadPoolExecutor(options.jobs) as pool:
        elsewhere = None
        if options.cluster and not options.no_verify:
            names = [backend.name for backend in backends]
            elsewhere = beside.submit(verified_on_cluster, options.cluster, names, options.search_time)
        for done in as_completed([pool.submit(judge, backend) for backend in backends]):
            yield done.result()


def _told(one: Judged) -> str:
    by = f"{len(one.objections)} criteria object"
    found = one.verified
    if found is None:
        return by
    check = f" ({found.check})" if found.check else ""
    reason = f": {found.reason}" if found.reason and not found.caught else ""
    return f"{found.status}{check} after {found.questions} questions, {found.seconds:.1f} s{reason}; {by}"


if __name__ == "__main__":
    sys.exit(main())
