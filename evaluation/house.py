"""What a checkout is made of: modules, lines, functions, folders, import circles, and the layers that a run passes.

    python evaluation/house.py [CHECKOUT] [--paths]

The run is a real one: a tiny case on `numpy-gemm`, in a separate process whose calls are followed. Each call stack is
reduced to the layers that it passes, such as `cli > runner > measurement`. A layer that is on a stack twice was left
and entered again, by a callback. Without CHECKOUT the checkout of this script is read. Takes 10 seconds.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "tests" / "support"))

from import_graph import circles, import_graph  # noqa: E402

LAYER_OF = {  # modules of older checkouts that belonged to a layer without a folder
    **dict.fromkeys(("case_id", "dialects"), "problem"),
    **dict.fromkeys(("case_data", "suite_file", "suite_filter", "suite_properties"), "suite"),
}
SUITE = 'name = "tiny"\nsummary = "one case"\n[[case]]\nbatch = 1\nin_channels = 1\nheight = 4\nwidth = 4\n'
SUITE += "out_channels = 1\nkernel_size = 3\n"
FOLLOW = """
import json, os, runpy, sys, threading
root, output, *words = sys.argv[1:]
sys.path.insert(0, root)
package, backends = os.path.join(root, "convbench") + os.sep, os.path.join(root, "backends") + os.sep
layer_of_file, stacks, local = {}, set(), threading.local()

def layer(file):
    if file.startswith(backends):
        return "backends"
    return file[len(package):].split(os.sep)[0].removesuffix(".py") if file.startswith(package) else None

def follow(frame, event, argument):
    if event not in ("call", "return"):
        return
    if not hasattr(local, "stack"):
        local.stack = [((), False)]
    if event == "return":
        if len(local.stack) > 1:
            local.stack.pop()
        return
    stack, importing = local.stack[-1]
    code = frame.f_code
    if code.co_filename not in layer_of_file:
        layer_of_file[code.co_filename] = layer(code.co_filename)
    name = layer_of_file[code.co_filename]
    importing = importing or code.co_name == "<module>" and name not in (None, "__main__")
    if name not in (None, "__init__", "__main__") and not importing and (not stack or stack[-1] != name):
        stack += (name,)
        stacks.add(stack)
    local.stack.append((stack, importing))

sys.argv = ["convbench", *words]
threading.setprofile(follow)
sys.setprofile(follow)
try:
    runpy.run_module("convbench", run_name="__main__")
finally:
    sys.setprofile(None)
    with open(output, "w") as file:
        json.dump(sorted(stacks), file)
"""


def function_lengths(root: Path) -> dict[str, int]:
    """The lines of every function and method, by `file:name`, from its first decorator to its last line."""
    lengths = {}
    for path in sorted((root / "convbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                name = f"{path.relative_to(root)}:{node.lineno} {node.name}"
                lengths[name] = (node.end_lineno or node.lineno) - first + 1
    return lengths


def layers_of_a_run(root: Path) -> list[tuple[str, ...]]:
    """The call stacks of a run, reduced to layers; each such sequence once."""
    with tempfile.TemporaryDirectory() as folder:
        suite, output = Path(folder, "tiny.toml"), Path(folder, "stacks.json")
        suite.write_text(SUITE, encoding="utf-8")
        words = ["run", "--suite", suite, "--backend", "numpy-gemm", "--quick", "--results", Path(folder, "results")]
        command = [sys.executable, "-c", FOLLOW, root, output, *words]
        run = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=os.environ | {"PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            sys.exit(f"The run failed with {run.returncode}:\n{run.stderr}")
        stacks = json.loads(output.read_text(encoding="utf-8"))
    return sorted({tuple(_collapsed(stack)) for stack in stacks})


def _collapsed(stack: list[str]) -> Iterator[str]:
    previous = None
    for name in stack:
        layer = LAYER_OF.get(name, name)
        if layer != previous:
            yield layer
        previous = layer


def main() -> None:
    parser = argparse.ArgumentParser(description="What a checkout is made of.")
    parser.add_argument("checkout", type=Path, nargs="?", default=HERE, help="default: this one")
    parser.add_argument("--paths", action="store_true", help="also print every sequence of layers")
    options = parser.parse_args()
    root = options.checkout.resolve()

    files = sorted((root / "convbench").rglob("*.py"))
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    lengths = function_lengths(root)
    longest = max(lengths, key=lengths.__getitem__)
    folder, count = Counter(file.parent for file in files if file.name != "__init__.py").most_common(1)[0]
    module = max(lines, key=lines.__getitem__)
    groups = circles(import_graph(root))
    stacks = layers_of_a_run(root)
    again = Counter(name for stack in stacks for name in set(stack) if stack.count(name) > 1)

    print(f"modules             {len(files)}, the largest of {lines[module]} lines ({module.relative_to(root)})")
    print(f"lines               {sum(lines.values())}")
    print(f"functions           {len(lengths)}, of {median(lengths.values()):g} lines in the median")
    print(f"longest function    {lengths[longest]} lines ({longest})")
    print(f"largest folder      {count} modules ({folder.relative_to(root)})")
    print(f"import circles      {len(groups)}, of {sum(map(len, groups))} modules")
    entered = ", ".join(f"{name} in {times}" for name, times in again.most_common())
    print(f"sequences of layers {len(stacks)} in a run; with a layer entered twice: {entered or 'none'}")
    for stack in stacks:
        if options.paths or len(set(stack)) < len(stack):
            print("   ", " > ".join(stack))


if __name__ == "__main__":
    main()
