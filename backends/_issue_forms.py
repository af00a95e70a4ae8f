"""The forms for bug reports of the projects that backends wrap, as they stood in November 2026."""

from __future__ import annotations

from convbench.backend.issue_form import IssueForm

from ._onednn.program import onednn_program
from ._onednn.quantized_program import quantized_program

PYTORCH = IssueForm(
    library="torch",
    project="PyTorch",
    url="https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml",
    sections={
        "🐛 Describe the bug": ("summary", "program", "observed", "expected", "where it shows"),
        "Versions": ("environment", "platform"),
    },
    environment=("-m", "torch.utils.collect_env"),
)
JAX = IssueForm(
    library="jax",
    project="JAX",
    url="https://github.com/jax-ml/jax/issues/new?template=bug-report.yml",
    sections={
        "Description": ("summary", "program", "observed", "expected", "where it shows"),
        "System info (python version, jaxlib version, accelerator, etc.)": ("environment", "platform"),
    },
    environment=("-c", "import jax; jax.print_environment_info()"),
)
NUMPY = IssueForm(
    library="numpy",
    project="NumPy",
    url="https://github.com/numpy/numpy/issues/new?template=bug-report.yml",
    sections={
        "Describe the issue": ("summary", "where it shows"),
        "Reproduce the code example": ("program",),
        "Error message": ("observed", "expected"),
        "Python and NumPy Versions": ("versions", "platform"),
        "Runtime Environment": ("environment",),
    },
    environment=("-c", "import numpy; numpy.show_runtime()"),
)
SCIPY = IssueForm(
    library="scipy",
    project="SciPy",
    url="https://github.com/scipy/scipy/issues/new?template=bug-report.yml",
    sections={
        "Describe your issue.": ("summary", "where it shows"),
        "Reproducing Code Example": ("program",),
        "Error message": ("observed", "expected"),
        "SciPy/NumPy/Python version and system information": ("environment", "versions", "platform"),
    },
    environment=("-c", "import scipy, numpy; print(scipy.__version__, numpy.__version__); scipy.show_config()"),
)
NUMBA = IssueForm(
    library="numba",
    project="Numba",
    url="https://github.com/numba/numba/issues/new?template=bug_report.md",
    sections={
        "Reporting a bug": ("summary", "program", "observed", "expected", "where it shows"),
        "numba -s": ("environment", "platform"),
    },
    environment=("-m", "numba", "-s"),
)
ONEDNN = IssueForm(
    library="onednn",
    project="oneDNN",
    url="https://github.com/uxlfoundation/oneDNN/issues/new?template=bug_report.md",
    sections={
        "Summary": ("summary",),
        "Version": ("versions",),
        "Environment": ("platform", "environment"),
        "Steps to reproduce": ("program",),
        "Observed behavior": ("observed", "where it shows"),
        "Expected behavior": ("expected",),
    },
    native=onednn_program,
    native_fused=onednn_program,
    native_quantized=quantized_program,
    native_language="cpp",
)
ONNXRUNTIME = IssueForm(
    library="onnxruntime",
    project="ONNX Runtime",
    url="https://github.com/microsoft/onnxruntime/issues/new?template=02-general.yml",
    sections={
        "Describe the issue": ("summary", "observed", "expected", "where it shows"),
        "To reproduce": ("program",),
        "Platform": ("platform",),
        "ONNX Runtime Version or Commit ID": ("versions",),
    },
)
OPENVINO = IssueForm(
    library="openvino",
    project="OpenVINO",
    url="https://github.com/openvinotoolkit/openvino/issues/new?template=bug.yml",
    sections={
        "OpenVINO Version": ("versions",),
        "Operating System": ("platform",),
        "Issue description": ("summary", "observed", "expected", "where it shows"),
        "Step-by-step reproduction": ("program",),
    },
)
OPENCV = IssueForm(
    library="opencv",
    project="OpenCV",
    url="https://github.com/opencv/opencv/issues/new?template=bug_report.yml",
    sections={
        "System Information": ("versions", "platform", "environment"),
        "Detailed description": ("summary", "observed", "expected", "where it shows"),
        "Steps to reproduce": ("program",),
    },
    environment=("-c", "import cv2; print(cv2.getBuildInformation())"),
)
TENSORFLOW = IssueForm(
    library="tensorflow",
    project="TensorFlow",
    url="https://github.com/tensorflow/tensorflow/issues/new?template=tensorflow_issue_template.yaml",
    sections={
        "TensorFlow version": ("versions",),
        "OS platform and distribution": ("platform",),
        "Current behavior?": ("summary", "observed", "expected", "where it shows"),
        "Standalone code to reproduce the issue": ("program",),
    },
)
NCNN = IssueForm(
    library="ncnn",
    project="ncnn",
    url="https://github.com/Tencent/ncnn/issues/new?template=others.md",
    sections={
        "detail": ("summary", "observed", "expected", "where it shows"),
        "how to reproduce": ("program",),
        "context": ("versions", "platform"),
    },
)
LITERT = IssueForm(
    library="litert",
    project="LiteRT",
    url="https://github.com/google-ai-edge/LiteRT/issues/new",
    sections={
        "Description": ("summary", "observed", "expected", "where it shows"),
        "Standalone code to reproduce the issue": ("program",),
        "System information": ("versions", "platform"),
    },
)
IREE = IssueForm(
    library="iree",
    project="IREE",
    url="https://github.com/iree-org/iree/issues/new?template=bug_report.yml",
    sections={
        "What happened?": ("summary", "observed", "expected", "where it shows"),
        "Steps to reproduce your issue": ("program",),
        "Version information": ("versions", "platform"),
    },
)
