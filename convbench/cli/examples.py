"""Examples of every command: help and the command list show them, and a test runs them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "backends": ("convbench backends", "convbench backends --plugin my_conv.py --json"),
    "suites": ("convbench suites",),
    "machine": ("convbench machine", "convbench machine --measure --threads 1"),
    "doctor": ("convbench doctor --quick", "convbench doctor --backend numpy-gemm --problem n1c16h14w14_o16k3_p1"),
    "runs": ("convbench runs",),
    "show": (
        "convbench show last --details",
        "convbench show n1c64h56w56_o64k3_p1",
        "convbench show mb1ic64ih56oc64oh56kh3ph1 --json",
    ),
    "extract": (
        "convbench extract model.onnx --output my_layers.toml",
        "convbench extract torchvision:resnet18 --deployed --output deployed.toml",
        "convbench extract timm:resnet18 --where 'groups > 1 or stride > 1'",
    ),
    "run": (
        "convbench run --suite smoke --backend 'numpy*'",
        "convbench run --suite smoke --plugin my_conv.py --quick --details",
        "convbench run --suite smoke --backend numpy-gemm --where 'kernel_size == 3' --json",
    ),
    "verify": (
        "convbench verify --plugin my_conv.py --search-time 10",
        "convbench verify --backend numpy-gemm --suite smoke --exact",
        "convbench verify --backend numpy-gemm --question 'n1c2h5w5_o2k3_g2 normal'",
    ),
    "bug": (
        "convbench bug 'n1c2h5w5_o2k3_g2 normal' --backend my-conv --plugin my_conv.py",
        "convbench bug report.md --for onednn -o issue.md",
    ),
    "choose": (
        "convbench choose --suite smoke --backend 'numpy*' --plan plan.json",
        "convbench choose --problem n1c16h14w14_o16k3_p1 --backend 'numpy*' --budget 0.1",
    ),
    "cluster": ("convbench cluster machines.toml", "convbench cluster machines.toml --json"),
    "worker": ("convbench worker tls://head:8786",),
    "report": (
        "convbench report before.jsonl -o report.html",
        "convbench report before.jsonl after.jsonl --compare",
    ),
    "picture": (
        "convbench picture --backend 'numpy*'",
        "convbench picture --kernel edges --stride 2 --padding-mode zeros --padding-mode reflect --backend numpy-gemm",
    ),
    "compare": (
        "convbench compare last~1 last",
        "convbench compare before.jsonl after.jsonl",
        "convbench compare before.jsonl after.jsonl --backend numpy-gemm --against numpy-loop --markdown",
    ),
    "trend": ("convbench trend", "convbench trend --suite smoke --backend 'numpy*' --since 2026-01-01 --last 3"),
    "releases": ("convbench releases onnxruntime --versions 1.20.1,1.21.1 --suite smoke --quick",),
    "bisect": (
        "convbench bisect opencv-python-headless --question n1c64h14w14_o64k1_p1 --backend opencv",
        "convbench bisect numba --case n1c32h56w56_o32k3_p1 --backend numba-direct --slower 5% --good 0.60.0",
    ),
    "publish": ("convbench publish", "convbench publish --results copied/results"),
    "export": ("convbench export --to records.csv", "convbench export before.jsonl --to before.pyperf.json"),
    "import": ("convbench import records.csv",),
    "completion": ("convbench completion bash", "convbench completion fish"),
}
"""Command lines by command. Files in them (`my_conv.py`, `before.jsonl`) stand for the user's own."""
