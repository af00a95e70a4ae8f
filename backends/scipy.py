"""conv2d with scipy.signal: correlations of two planes, and Fourier transforms."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import DTYPES, ConvProblem

from ._numpy_arrays import ISA_SWITCHES, WITHOUT_ISA_SWITCH, isa_in_use, pad_code, prepared

if TYPE_CHECKING:
    import numpy as np

_PLANES_AT_ONCE = 2**25  # elements in one call, whose spectra take about 0.5 GiB


class _SciPy(Backend):
    requires = ("numpy", "scipy")
    supports = WHOLE_OF_CONV2D
    plane: str
    """The code of the call that computes one plane."""
    thread_safe = True
    isa_switches = ISA_SWITCHES
    without_isa_switch = WITHOUT_ISA_SWITCH

    def isa_in_use(self) -> str | None:
        return isa_in_use()

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import numpy as np
        import scipy.signal  # noqa: F401 - takes longer than a call, so it is imported before the first one

        x = np.ascontiguousarray(x)
        return prepared(problem, x, w, b, lambda x, w: self._correlate(problem, x, _dilate(problem, w)))

    @abstractmethod
    def _correlate(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The output from the padded input and the dilated weight."""

    def script(self, problem: ConvProblem) -> str | None:
        (o, own, kh, kw), (dh, dw), (sh, sw) = problem.weight_shape, problem.dilation, problem.stride
        return _SCRIPT.format(
            function=self.plane.partition("(")[0],
            plane=self.plane,
            computed_in="float64" if problem.dtype == "float64" else "float32",
            padded=pad_code(problem, "image"),
            spread=(o, own, dh * (kh - 1) + 1, dw * (kw - 1) + 1),
            taps=f"::{dh}, ::{dw}",
            shape=problem.output_shape,
            loops=(problem.batch, o, own),
            filters=o // problem.groups,
            channels=own,
            strides=f"::{sh}, ::{sw}",
        )


_SCRIPT = """\
from scipy.signal import {function}
image, spread = x.astype(np.{computed_in}), np.zeros({spread}, np.{computed_in})
spread[:, :, {taps}] = w
image = {padded}
def convolve():
    y = np.zeros({shape}, image.dtype)
    for n, o, c in np.ndindex({loops}):
        plane, kernel = image[n, o // {filters} * {channels} + c], spread[o, c]
        y[n, o] += {plane}[{strides}]
    return (y if b is None else y + b.astype(y.dtype)[:, None, None]).astype(x.dtype)
out = convolve()"""


class _Direct(_SciPy):
    name = "scipy-direct"
    # The zeros between the taps of a dilated kernel are multiplied, too.
    arithmetic = Arithmetic("direct", taints=DTYPES)
    plane = 'correlate2d(plane, kernel, mode="valid")'
    summary = "scipy.signal.correlate2d, one input channel and one output channel at a time"

    def _correlate(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        import numpy as np
        from scipy.signal import correlate2d

        out = np.zeros(problem.output_shape, x.dtype)
        out_channels, channels = w.shape[:2]
        for n, o, c in np.ndindex(problem.batch, out_channels, channels):
            group = o // (out_channels // problem.groups)
            plane = correlate2d(x[n, group * channels + c], w[o, c], mode="valid")
            out[n, o] += plane[:: problem.stride[0], :: problem.stride[1]]
        return out


class _FFT(_SciPy):
    name = "scipy-fft"
    arithmetic = Arithmetic("fft")
    plane = 'fftconvolve(plane, kernel[::-1, ::-1], mode="valid")'
    summary = "scipy.signal.fftconvolve, one call for each input channel of a group"
    threads = 1

    def limit_threads(self, n: int) -> None:
        self.threads = n

    def _correlate(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """All groups and output channels form one batch. A depthwise convolution is one call.

        This uses fftconvolve and not oaconvolve. Over 25 pairs of image (9 to 4096 pixels wide) and kernel (3 to 31)
        overlap-add was between 1.7 times faster, for the widest, and 4.5 times slower. Below 2048 it rarely won.
        """
        import numpy as np
        from scipy.fft import set_workers
        from scipy.signal import fftconvolve

        n, groups, (height, width) = problem.batch, problem.groups, x.shape[2:]
        x = x.reshape(n, groups, -1, 1, height, width)
        w = w.reshape(1, groups, -1, *w.shape[1:])[..., ::-1, ::-1]  # flipped, because fftconvolve flips it back
        out = np.zeros((n, groups, w.shape[2], problem.out_height, problem.out_width), x.dtype)
        images = max(1, _PLANES_AT_ONCE // (problem.out_channels * height * width))
        with set_workers(self.threads):
            for first in range(0, n, images):
                some = slice(first, first + images)
                for c in range(x.shape[2]):
                    planes = fftconvolve(x[some, :, c], w[:, :, :, c], mode="valid", axes=(-2, -1))
                    out[some] += planes[..., :: problem.stride[0], :: problem.stride[1]]
        return out.reshape(problem.output_shape)


def _dilate(problem: ConvProblem, w: np.ndarray) -> np.ndarray:
    """`w` with zeros between its taps, because scipy.signal has no dilation."""
    import numpy as np

    if problem.dilation == (1, 1):
        return w
    (kh, kw), (dh, dw) = problem.kernel_size, problem.dilation
    spread = np.zeros((*w.shape[:2], dh * (kh - 1) + 1, dw * (kw - 1) + 1), w.dtype)
    spread[:, :, ::dh, ::dw] = w
    return spread


BACKENDS = (_Direct(), _FFT())
