"""In a process of its own: run a Python script and note the convolutions that torch computes for it.

`python script_trace.py RESULT SCRIPT ARGUMENT...`. The script runs as by `python SCRIPT`; its exit code is this
process's. RESULT gets one JSON object when it ends. This file imports nothing of convbench, so the script finds no
module that it would not find otherwise.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the script under a mode that sees every operation of this thread."""
    result, script = sys.argv[1:3]
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(script).absolute().parent)
    calls: Counter[str] = Counter()
    others: Counter[str] = Counter()
    try:
        with _recorder(calls, others):
            runpy.run_path(script, run_name="__main__")
    finally:
        noted = {"convolutions": [[json.loads(call), n] for call, n in calls.items()], "others": others}
        Path(result).write_text(json.dumps(noted), encoding="utf-8")


def _recorder(calls: Counter[str], others: Counter[str]) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
        supports_higher_order_operators = True

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            name = func.name() if hasattr(func, "name") else str(func)
            if (
                name.startswith("aten::") and "conv" in name and func._can_decompose()
            ):  # in inference mode they arrive whole
                with self:
                    return func.decompose(*args, **kwargs)
            if name.split(".")[0] in ("aten::convolution", "aten::_convolution"):
                _note(calls, others, args)
            return func(*args, **kwargs)

    return Operations()  # type: ignore[no-untyped-call]


def _note(calls: Counter[str], others: Counter[str], args: Any) -> None:
    image, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args[:9]
    dimensions = weight.dim() - 2
    dtype = str(image.dtype).removeprefix("torch.")
    if dimensions != 2:
        others[f"A {'transposed ' if transposed else ''}convolution in {dimensions}-D"] += 1
    elif not image.is_floating_point():
        others[f"A convolution of {dtype}"] += 1
    else:
        pairs = {"stride": list(stride), "padding": list(padding), "dilation": list(dilation)}
        shapes = {"image": list(image.shape), "weight": list(weight.shape)}
        more = {"groups": groups, "bias": bias is not None, "dtype": dtype}
        more |= {"output_padding": list(output_padding)} if transposed else {}
        calls[json.dumps(shapes | pairs | more)] += 1


if __name__ == "__main__":
    main()
