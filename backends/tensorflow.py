"""conv2d of TensorFlow: tf.nn.conv2d in NHWC, computed by oneDNN or Eigen as TensorFlow chooses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convbench.backend import WITH_EPILOGUES, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

from ._fusion import implementation_with
from ._issue_forms import TENSORFLOW
from ._onednn import isa as onednn_isa
from ._onednn.log import LOSES_NAN, fused_in, kernels_in, printed_by
from ._tensorflow import gradients
from ._tensorflow.fused import ended
from ._tensorflow.script import tensorflow_gradient_script, tensorflow_script

if TYPE_CHECKING:
    import numpy as np

_TELLS = "profile_create"  # a word of oneDNN's


class TensorFlow(Backend):
    name = "tensorflow"
    requires = ("tensorflow",)
    issue_form = TENSORFLOW
    install = "'convbench[tensorflow]'"
    summary = "tf.nn.conv2d in NHWC"
    supports = WITH_EPILOGUES
    thread_safe = True
    arithmetic = Arithmetic(
        "auto", epilogue_in_dtype=True, loses_nan=LOSES_NAN
    )  # TensorFlow chooses the kernel, and does not show which
    prepacks = ("input", "weight", "output")
    # On a CPU without AVX-512's instructions for neural networks TensorFlow leaves oneDNN off. Its own kernels are
    # compiled for one instruction set, below AVX2, and take matrix products from oneDNN.
    isa_switches = onednn_isa.switches(avx2={"TF_ENABLE_ONEDNN_OPTS": "0"}, avx512={"TF_ENABLE_ONEDNN_OPTS": "0"})

    def unsupported(self, problem: ConvProblem) -> str | None:
        return super().unsupported(problem) or gradients.reason_against(problem)

    def limit_threads(self, n: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # or the import prints a page
        # oneDNN reads it once. It then says which kernel it makes, and is silent in calls of a kernel that it has.
        os.environ.setdefault("ONEDNN_VERBOSE", _TELLS)
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(n)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import tensorflow as tf

        with tf.device("CPU:0"):
            input_, weight = tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(w.transpose(2, 3, 1, 0))
            bias = None if b is None else tf.constant(b)
        padded, sides = _padding(problem)
        strides, dilations = list(problem.stride), list(problem.dilation)

        def plain(x: Any) -> Any:
            y = tf.nn.conv2d(padded(x), weight, strides, sides, dilations=dilations)
            return y if bias is None else tf.nn.bias_add(y, bias)

        # A graph joins convolution and bias into one operation, which rounds once where oneDNN computes it. Without a
        # bias the call is eager: a graph packs no weight and takes 0.06 to 0.2 ms more. depthwise_conv2d is no faster.
        convolve = plain if bias is None else _joined(problem, plain, input_)
        # TensorFlow shows its memory read-only, and not in all dtypes: the input is read.
        touch = lambda: tf.reduce_max(input_)  # noqa: E731
        run = lambda: convolve(input_)  # noqa: E731
        to_numpy = lambda y: y.numpy().transpose(0, 3, 1, 2)  # noqa: E731
        explain = lambda: _kernel(plain, input_)  # noqa: E731
        if convolve is not plain:
            explain = lambda: _kernel_of_graph(problem, plain, input_)  # noqa: E731
        return Ready(run, to_numpy=to_numpy, touch=touch, explain=explain)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import tensorflow as tf

        assert problem.epilogue is not None
        with tf.device("CPU:0"):
            weight, bias = tf.constant(w.transpose(2, 3, 1, 0)), None if b is None else tf.constant(b)
            images = [tf.constant(a.transpose(0, 2, 3, 1)) for a in (x, r) if a is not None]
        padded, sides = _padding(problem)
        strides, dilations, end = list(problem.stride), list(problem.dilation), ended(problem.epilogue)

        def plain(x: Any, r: Any = None) -> Any:
            y = tf.nn.conv2d(padded(x), weight, strides, sides, dilations=dilations)
            return end(y if bias is None else tf.nn.bias_add(y, bias), r)

        compute, log = _graph(problem, plain, images)
        return Ready(
            lambda: compute(*images),
            to_numpy=lambda y: y.numpy().transpose(0, 3, 1, 2),
            touch=lambda: [tf.reduce_max(image) for image in images],
            explain=lambda: implementation_with(kernels_in(log), problem, fused_in(log)),
        )

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        import tensorflow as tf

        with tf.device("CPU:0"):
            upstream, input_, weight = (
                None if a is None else tf.constant(a.transpose(gradients.ORDER[name]))
                for name, a in (("g", g), ("x", x), ("w", w))
            )
        arriving, sides = _padding(problem)
        own = any(map(any, sides))
        padded = (lambda x: tf.pad(arriving(x), sides)) if own else arriving
        gradient = gradients.gradient(problem, input_, weight, padded)
        return Ready(
            lambda: gradient(upstream),
            to_numpy=gradients.to_numpy(problem),
            touch=lambda: tf.reduce_max(upstream),
            explain=lambda: _kernel(gradient, upstream),
        )

    def script(self, problem: ConvProblem) -> str | None:
        return tensorflow_script(problem, *_padding_code(problem))

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self.script(problem)

    def gradient_script(self, problem: ConvProblem) -> str | None:
        return tensorflow_gradient_script(problem, *_padding_code(problem))


_of_graphs: dict[ConvProblem, str] = {}
"""Kernels that oneDNN made for graphs of this process. They are kept, and oneDNN says nothing when they are found."""


def _kernel(convolve: Callable[[Any], Any], x: Any) -> str | None:
    """The kernel of oneDNN that an eager `convolve` uses, or "eigen" where oneDNN would have told and did not compute.
    TensorFlow keeps kernels by thread, so that a new thread makes one."""
    import tensorflow as tf

    if (kernels := kernels_in(printed_by(lambda: _in_thread(lambda: convolve(x))))) is not None:
        return kernels
    image, weight = tf.ones((1, 16, 16, 16)), tf.ones((3, 3, 16, 16))
    known = lambda: tf.nn.conv2d(image, weight, 1, "SAME")  # noqa: E731
    known()  # so that it is made already, as the one in question is
    tells = kernels_in(printed_by(lambda: _in_thread(known))) is not None
    return "eigen" if tells or not _has_onednn() else None


def _in_thread(call: Callable[[], Any]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def _note_kernel(problem: ConvProblem, first_call: Callable[[], Any]) -> None:
    """Make the first call of a graph, and keep the kernel that oneDNN makes meanwhile, if it tells."""
    if os.environ.get("ONEDNN_VERBOSE") != _TELLS:
        first_call()
    elif (kernels := kernels_in(printed_by(first_call))) is not None:
        _of_graphs[problem] = kernels


def _kernel_of_graph(problem: ConvProblem, plain: Callable[[Any], Any], x: Any) -> str | None:
    """The kernel that a graph uses; of its parts, computed one by one, only that they are Eigen's says something."""
    return _of_graphs.get(problem) or ("eigen" if _kernel(plain, x) == "eigen" else None)


_logs: dict[ConvProblem, str] = {}
"""What oneDNN logged when it made the kernel of a graph of this process: it says nothing when it has one already."""


def _graph(problem: ConvProblem, plain: Callable[..., Any], images: list[Any]) -> tuple[Callable[..., Any], str]:
    """`plain` as a graph, in which TensorFlow joins what it can to the convolution, and what oneDNN logs when it makes
    the kernel; `plain` itself, and nothing, where TensorFlow's own kernels cannot join what the graph joins."""
    import tensorflow as tf

    graph = tf.function(plain).get_concrete_function(*images)
    try:
        log = printed_by(lambda: graph(*images))
        if kernels_in(log) is not None:
            _logs[problem] = log
        return graph, _logs.get(problem, "")
    except tf.errors.UnimplementedError:
        return plain, ""


def _has_onednn() -> bool:
    """Whether TensorFlow computes by oneDNN here. Nothing public says so."""
    from tensorflow.python.util import _pywrap_util_port

    return bool(_pywrap_util_port.IsMklEnabled())


def _joined(problem: ConvProblem, convolve: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
    """`convolve` as a graph, or unchanged if TensorFlow's own kernels cannot join a bias to it, as with groups.

    These kernels compute when oneDNN is off, the default on CPUs without AVX-512's instructions for neural networks.
    """
    import tensorflow as tf

    graph = tf.function(convolve).get_concrete_function(x)
    try:
        _note_kernel(problem, lambda: graph(x))
    except tf.errors.UnimplementedError:
        return convolve
    return graph


def _padding(problem: ConvProblem) -> tuple[Callable[[Any], Any], list[list[int]]]:
    """A function that pads or crops before the convolution, and the zeros that the convolution pads itself."""
    import tensorflow as tf

    (top, bottom), (left, right) = problem.padding
    mode, none = problem.padding_mode, [[0, 0]] * 4
    if min(top, bottom, left, right) < 0:
        rows = slice(max(0, -top), problem.height - max(0, -bottom))
        columns = slice(max(0, -left), problem.width - max(0, -right))
        sides = [[0, 0], *([max(0, a) for a in axis] for axis in problem.padding), [0, 0]]
        return lambda x: x[:, rows, columns], sides
    sides = [[0, 0], [top, bottom], [left, right], [0, 0]]
    if mode == "zeros":
        return lambda x: x, sides
    if mode == "reflect":
        return lambda x: tf.pad(x, sides, "REFLECT"), none
    rows_read, columns_read = (tf.constant(index) for index in _indices(problem))
    return lambda x: tf.gather(tf.gather(x, rows_read, axis=1), columns_read, axis=2), none


def _indices(problem: ConvProblem) -> tuple[list[int], list[int]]:
    """The input rows and columns of the padded image, for modes that tf.pad does not have."""
    rows, columns = (
        [i % size if problem.padding_mode == "circular" else min(max(i, 0), size - 1) for i in range(-p, size + q)]
        for size, (p, q) in zip((problem.height, problem.width), problem.padding, strict=True)
    )
    return rows, columns


def _padding_code(problem: ConvProblem) -> tuple[str, list[list[int]]]:
    """The code of `_padding`."""
    (top, bottom), (left, right) = problem.padding
    mode, none = problem.padding_mode, [[0, 0]] * 4
    if min(top, bottom, left, right) < 0:
        rows = f"{max(0, -top)}:{problem.height - max(0, -bottom)}"
        columns = f"{max(0, -left)}:{problem.width - max(0, -right)}"
        return f"x[:, {rows}, {columns}]", [[0, 0], *([max(0, a) for a in axis] for axis in problem.padding), [0, 0]]
    sides = [[0, 0], [top, bottom], [left, right], [0, 0]]
    if mode == "zeros":
        return "x", sides
    if mode == "reflect":
        return f'tf.pad(x, {sides}, "REFLECT")', none
    rows_read, columns_read = _indices(problem)
    return f"tf.gather(tf.gather(x, {rows_read}, axis=1), {columns_read}, axis=2)", none


BACKENDS = (TensorFlow(),)
