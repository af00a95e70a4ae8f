"""The contract between convbench and an implementation of conv2d.

A backend is an instance of a subclass of `Backend`, listed in the `BACKENDS` tuple of its file. It consists of data and
one method:

    class MyConv(Backend):
        name = "my-conv"
        requires = ("my_library",)
        supports = Supports(dtypes={"float32"}, padding_modes={"zeros"})

        def prepare(self, problem, x, w, b):
            import my_library
            return Ready(lambda: my_library.conv2d(x, w, b, stride=problem.stride, padding=problem.padding))

    BACKENDS = (MyConv(),)

A backend that computes gradients, too, names them in `Supports.directions` and has a second method,
`prepare_gradient`. Without them a backend computes forward only. One that names "step" is asked for training steps; it
calls its prepared parts in turn, unless it has a `prepare_step` of its own. One that computes an activation or a
residual sum with the convolution (`ConvProblem.epilogue`) names these in `Supports.activations` and
`Supports.residuals`, and has `prepare_fused`. Without them a backend is asked for bare convolutions only.
One that computes quantised convolutions says which in `Supports.quantized` and has `prepare_quantized`.

Three rules:

* Import the library inside methods, never at the top of the file. Listing backends then costs nothing.
* `prepare` does all work that does not depend on the call. Only `Ready.run` is timed.
* Refuse with a sentence, from `unavailable` or `unsupported`. An exception is reported as a bug.

`Supports` and `Arithmetic` describe the backend, `Ready` is what `prepare` returns, and `Instruments` are for devices
such as GPUs. Everything has a default except `name` and `prepare`.
"""

from __future__ import annotations

from convbench.backend.arithmetic import Algorithm, Arithmetic, Precision
from convbench.backend.backend import Backend
from convbench.backend.quantized import QuantizedArithmetic, QuantizedSupport
from convbench.backend.ready import (
    HAS_OWN_LAYOUT,
    NO_INSTRUMENTS,
    TAKES_ONE_INPUT,
    Arrays,
    DeviceClock,
    DeviceMemory,
    Instruments,
    Ready,
    in_turn,
    reason_against_applying,
    touching,
)
from convbench.backend.supports import WHOLE_OF_CONV2D, WITH_EPILOGUES, WITH_GRADIENTS, WITH_STEP, Supports

__all__ = [
    "HAS_OWN_LAYOUT",
    "NO_INSTRUMENTS",
    "TAKES_ONE_INPUT",
    "WHOLE_OF_CONV2D",
    "WITH_EPILOGUES",
    "WITH_GRADIENTS",
    "WITH_STEP",
    "Algorithm",
    "Arithmetic",
    "Arrays",
    "Backend",
    "DeviceClock",
    "DeviceMemory",
    "Instruments",
    "Precision",
    "QuantizedArithmetic",
    "QuantizedSupport",
    "Ready",
    "Supports",
    "in_turn",
    "reason_against_applying",
    "touching",
]
