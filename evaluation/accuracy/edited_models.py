"""Does `extract` read any model file, or say what it cannot read? Files with seeded edits, judged by a plain walk.

    python evaluation/accuracy/edited_models.py [--files 2000] [--first 0] [--keep DIR]

Half of the files are ONNX, half are programs of torch.export. Each is made from a valid one by one to four edits: of
attributes, lengths, types, names, domains, order and nesting, and of bytes. Each is given to the command `extract`. It
has to end in 0, 2 or 3, with a sentence, within `LIMIT_S`. Where it ends in 0 or 3, the convolutions that it lists and
those that it names as left out must be at least those that a walk over the file finds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import signal
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_edits import dicts_in, edited

LIMIT_S = 60
_COUNTS = {"runs once": 1, "runs twice": 2, "there is one": 1}
_OF_LISTED = ("that is listed in real numbers", "besides its convolution", "The bias of a transposed convolution")
"""What is said of convolutions that are listed."""


def plain_count(path: Path) -> int:
    """At least how many convolutions a file has, by a walk over it; 0 for what is no model."""
    return _count_in_onnx(path) if path.suffix == ".onnx" else _count_in_program(path)


def _convolves(name: str) -> bool:
    return "conv" in name.lower() and "convert" not in name.lower()


def _count_in_onnx(path: Path) -> int:
    import onnx
    from onnx.numpy_helper import to_array

    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:
        return 0
    functions = {(f.domain, f.name): f for f in model.functions}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    unknown = {entry.name for entry in model.graph.input} - constants.keys()

    def of_nodes(nodes: Any, depth: int = 0) -> int:
        return sum(of_node(node, depth) for node in nodes) if depth < 60 else 0

    def of_node(node: Any, depth: int) -> int:
        graphs = {a.name: a.g for a in node.attribute if a.HasField("g")}
        inner = {name: of_nodes(graph.node, depth + 1) for name, graph in graphs.items()}
        if (node.domain, node.op_type) in functions:
            return of_nodes(functions[node.domain, node.op_type].node, depth + 1)
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            condition = node.input[0] if node.input else ""
            if condition in unknown or not inner:
                return sum(inner.values())
            with contextlib.suppress(Exception):
                return inner["then_branch" if bool(to_array(constants[condition]).reshape(())) else "else_branch"]
            return min(inner.values()) if len(inner) > 1 else 0
        return _convolves(node.op_type) + sum(inner.values())

    return of_nodes(model.graph.node)


def _count_in_program(path: Path) -> int:
    try:
        with zipfile.ZipFile(path) as archive:
            program = json.loads(archive.read("model/models/model.json"))
        nodes = program["graph_module"]["graph"]["nodes"]
    except Exception:
        return 0
    targets = [node["target"] for node in dicts_in(nodes) if isinstance(node.get("target"), str)]
    return sum(_convolves(".".join(target.split(".")[-3:])) for target in targets if target.startswith("torch.ops."))


@dataclass(frozen=True)
class Outcome:
    """How the command ended on a file: its exit code, what is wrong with that (None: nothing), and the seconds."""

    number: int
    code: int | None
    fault: str | None
    wall_s: float


def judged(number: int, folder: Path) -> Outcome:
    """Give the file of that number to the command, and judge what it says."""
    path = edited(number, folder)
    started = time.perf_counter()
    code, out, err = extracted(path)
    wall_s = time.perf_counter() - started
    return Outcome(number, code, fault_of(path, code, out, err), wall_s)


def extracted(path: Path) -> tuple[int | None, str, str]:
    """Exit code and output of `convbench extract --json`, in this process; None where it hangs."""
    from convbench.cli.main import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    previous = signal.signal(signal.SIGALRM, _hanging)
    signal.alarm(LIMIT_S)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(["extract", str(path), "--json"])
        code: int | None = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except TimeoutError:
        code = None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return code, *texts


def _hanging(*_: Any) -> None:
    raise TimeoutError


def fault_of(path: Path, code: int | None, out: str, err: str) -> str | None:
    """What is wrong with how the command ended; None when nothing is."""
    if code is None or "TimeoutError" in err:
        return f"it hangs for {LIMIT_S} s"
    if code not in (0, 2, 3) or "a bug in convbench" in err or "Traceback" in err:
        return f"exit code {code}: {err.strip()[:300]}"
    if code and not re.search(r"convbench: .+", err):
        return f"exit code {code} without a sentence"
    if "\x1b" in err + out:
        return "an escape sequence of the file reaches the terminal"
    listed = sum(json.loads(line)["count"] for line in out.splitlines())
    if code != 2 and listed + named(err) < (expected := plain_count(path)):
        return f"{expected} convolutions, and {listed} are listed and {named(err)} named"
    return None


def named(text: str) -> int:
    """How many convolutions the lines `left out: ...` name."""
    count = 0
    for line in text.splitlines():
        if "onv" not in line or any(phrase in line for phrase in _OF_LISTED):
            continue
        if match := re.search(r"(runs once|runs twice|there is one)|(?:runs|there are) (\d+)", line):
            count += _COUNTS[match[1]] if match[1] else int(match[2])
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files here")
    words = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = words.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        outcomes = []
        for number in range(words.first, words.first + words.files):
            outcome = judged(number, folder)
            outcomes.append(outcome)
            if outcome.fault:
                print(f"{edited(number, folder)}: {outcome.fault}", flush=True)
    codes = Counter(str(outcome.code) for outcome in outcomes)
    faults = sum(outcome.fault is not None for outcome in outcomes)
    print(f"{len(outcomes)} files; by exit code: {dict(sorted(codes.items()))}; {faults} with a fault.")
    print(f"slowest: {max(outcome.wall_s for outcome in outcomes):.1f} s")


if __name__ == "__main__":
    main()
