"""The wrong answers in int8 that `convbench verify` found, once more without convbench: one file, two runtimes.

    python evaluation/engines/quantized_by_hand.py

makes QDQ models of one convolution, runs each by ONNX Runtime, OpenCV's new engine and OpenVINO, and prints shapes and
numbers side by side. It needs onnx, onnxruntime, opencv and openvino, and takes some seconds.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# channels, height and width; filters, kernel, padding (both sides alike), stride
CASES = {
    "1x1 kernel, two filters, one pixel": ((1, 1, 1), (2, 1, 0, 1)),
    "1x1 kernel, 3x3 pixels": ((4, 3, 3), (4, 1, 0, 1)),
    "3x3 kernel with padding": ((4, 3, 3), (4, 3, 1, 1)),
    "1x1 kernel with padding, stride 2": ((1, 4, 4), (1, 1, 1, 2)),
}


def model(image: tuple[int, int, int], layer: tuple[int, int, int, int]) -> bytes:
    """uint8 to uint8, with scales that are powers of two, and zero points of 0."""
    (channels, height, width), (filters, kernel, padding, stride) = image, layer
    constants = {
        "xs": np.float32(0.5),
        "xz": np.uint8(0),
        "w": np.random.default_rng(0).integers(-100, 100, (filters, channels, kernel, kernel)).astype(np.int8),
        "ws": np.full(filters, 0.5, np.float32),
        "wz": np.zeros(filters, np.int8),
        "ys": np.float32(32),
        "yz": np.uint8(0),
    }
    sizes = [(size + 2 * padding - kernel) // stride + 1 for size in (height, width)]
    geometry = {"kernel_shape": [kernel] * 2, "pads": [padding] * 4, "strides": [stride] * 2}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"], axis=0),
        helper.make_node("Conv", ["xr", "wr"], ["c"], **geometry),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, (1, channels, height, width)),
        helper.make_tensor_value_info("y", onnx.TensorProto.UINT8, (1, filters, *sizes)),
    ]
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "qdq", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return bytes(made.SerializeToString())


def by_onnxruntime(text: bytes, x: Any) -> Any:
    session = importlib.import_module("onnxruntime").InferenceSession(text, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def by_opencv(text: bytes, x: Any) -> Any:
    cv2 = importlib.import_module("cv2")
    with TemporaryDirectory() as folder:
        path = Path(folder, "qdq.onnx")
        path.write_bytes(text)
        net = cv2.dnn.readNetFromONNX(str(path), cv2.dnn.ENGINE_NEW)
    net.setInput(x)
    return net.forward()


def by_openvino(text: bytes, x: Any) -> Any:
    core = importlib.import_module("openvino").Core()
    return core.compile_model(core.read_model(text), "CPU")(x)[0]


RUNTIMES: dict[str, Callable[[bytes, Any], Any]] = {
    "onnxruntime": by_onnxruntime,
    "opencv": by_opencv,
    "openvino": by_openvino,
}


def main() -> None:
    for name, (image, layer) in CASES.items():
        text = model(image, layer)
        x = np.random.default_rng(1).integers(0, 256, (1, *image)).astype(np.uint8)
        print(name)
        for runtime, compute in RUNTIMES.items():
            y = np.asarray(compute(text, x))
            print(f"    {runtime:12} {'x'.join(map(str, y.shape)):10} {y.reshape(-1)[:9].tolist()}")


if __name__ == "__main__":
    main()
