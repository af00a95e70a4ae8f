"""How the zoo agrees with a table of the same models' layers that was made independently of convbench.

    python tests/support/suite_of_zoo.py --cache DIR
    python evaluation/accuracy/zoo_agreement.py REFERENCE.parquet --cache DIR

REFERENCE has a row for each distinct convolution of each model: `source` (timm or torchvision), `model`, `count`, `N`,
`C_in`, `H`, `W`, `C_out`, `kH`, `kW`, `sH`, `sW`, `pT`, `pB`, `pL`, `pR`, `dH`, `dW`, `groups`, `bias`, `padding_mode`
and `macs`. The script compares the distinct operations, and how often each model runs each of them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from convbench.problem import ConvProblem

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from suite_of_zoo import LIBRARIES, Model, kept

Runs = dict[str, Counter[str]]  # by model, how often it runs each case id


def reference(path: Path) -> Runs:
    """The table's; what its `macs` says is checked against the problem's."""
    table = pd.read_parquet(path)
    runs: Runs = {}
    for row in table[table.source.isin(LIBRARIES)].itertuples(index=False):
        problem = ConvProblem(
            batch=row.N,
            in_channels=row.C_in,
            height=row.H,
            width=row.W,
            out_channels=row.C_out,
            kernel_size=(row.kH, row.kW),
            stride=(row.sH, row.sW),
            padding=((row.pT, row.pB), (row.pL, row.pR)),
            dilation=(row.dH, row.dW),
            groups=row.groups,
            bias=bool(row.bias),
            padding_mode=row.padding_mode,
        )
        if problem.macs != row.macs * row.N:  # the table's are for one image
            print(f"macs of {problem} are {problem.macs:,} here and {row.macs * row.N:,} there")
        runs.setdefault(f"{row.source}:{row.model}", Counter())[problem.case_id] += row.count
    return runs


def ours(models: dict[str, Model]) -> Runs:
    """The zoo's, for the models that have a conv2d."""
    return {
        source: Counter({case: count for case, count, _ in model.layers})
        for source, model in models.items()
        if model.layers
    }


def report(here: Runs, there: Runs, failed: dict[str, str]) -> None:
    """Print what agrees, and every difference."""
    both = sorted(set(here) & set(there))
    table = [
        ("models", len(here), len(there), len(both)),
        ("distinct operations", *_sizes(_operations(here), _operations(there))),
        (
            "for one image, no bias",
            *_sizes(*({_without_bias(case) for case in _operations(runs)} for runs in (here, there))),
        ),
        ("runs", _runs(here), _runs(there), sum((here[model] & there[model]).total() for model in both)),
    ]
    print(f"{'':24}{'zoo':>10}{'reference':>12}{'in both':>10}")
    for name, *counts in table:
        print(f"{name:24}{counts[0]:>10,}{counts[1]:>12,}{counts[2]:>10,}")
    alike = [model for model in both if here[model] == there[model]]
    print(f"\n{len(alike):,} of {len(both):,} models run the same operations equally often.")
    for model in sorted(set(here) ^ set(there)):
        where, runs = ("zoo", here[model]) if model in here else ("reference", there[model])
        print(f"only in the {where}: {model}, {runs.total()} runs; {failed.get(model, '')}")
    padded = [model for model in both if model not in alike and _as_padded(here[model]) == _as_padded(there[model])]
    if padded:
        moved = sum((here[model] - there[model]).total() for model in padded)
        print(
            f"{len(padded)} more do once padding is counted to the image: what is padded just before {moved} runs is "
            f"padding of the operation in the zoo, and part of its image in the reference.\n  {', '.join(padded)}"
        )
    for model in both:
        if model not in alike and model not in padded:
            more, fewer = here[model] - there[model], there[model] - here[model]
            print(f"{model}: zoo {_told(more)}; reference {_told(fewer)}")


def _operations(all_: Runs) -> set[str]:
    return {case for runs in all_.values() for case in runs}


def _sizes(one: set[str], two: set[str]) -> tuple[int, int, int]:
    return len(one), len(two), len(one & two)


def _runs(all_: Runs) -> int:
    return sum(runs.total() for runs in all_.values())


def _without_bias(case: str) -> str:
    """One image, zeros around it, no bias: what an operation is to those who count operations."""
    return ConvProblem.parse(case).replace(batch=1, bias=False, padding_mode="zeros").case_id


def _as_padded(runs: Counter[str]) -> Counter[str]:
    """The same, with images as they are once they are padded."""
    found: Counter[str] = Counter()
    for case, count in runs.items():
        problem = ConvProblem.parse(case)
        rows, columns = map(sum, problem.padding)
        size = {"height": problem.height + rows, "width": problem.width + columns}
        found[problem.replace(**size, padding=0, padding_mode="zeros").case_id] += count
    return found


def _told(runs: Counter[str]) -> str:
    shown = ", ".join(f"{count} x {case}" for case, count in runs.most_common(3))
    return (shown or "nothing more") + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument(
        "--cache", type=Path, required=True, help="what tests/support/suite_of_zoo.py read of the models"
    )
    asked = parser.parse_args()
    models = kept(asked.cache)
    failed = {source: model.error or "no conv2d found" for source, model in models.items() if not model.layers}
    report(ours(models), reference(asked.reference), failed)


if __name__ == "__main__":
    main()
