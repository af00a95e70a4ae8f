"""conv2d with scipy.signal: correlations of two planes, and Fourier transforms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

from convbench.backend import WITH_EPILOGUES, Arithmetic, Backend, Ready
from convbench.problem import DTYPES, ConvProblem

from ._fusion import implementation_with
from ._issue_forms import SCIPY
from ._numpy.arrays import ISA_SWITCHES, WITHOUT_ISA_SWITCH, isa_in_use, pad_code, prepared
from ._numpy.fused import epilogue_lines
from ._numpy.gradients import padded_shape, prepared_gradient

if TYPE_CHECKING:
    import numpy as np

_PLANES_AT_ONCE = 2**25  # elements in one call, whose spectra take about 0.5 GiB


class _SciPy(Backend):
    requires = ("numpy", "scipy")
    issue_form = SCIPY
    supports = WITH_EPILOGUES
    plane: str
    """The code of the call that computes one plane."""
    thread_safe = True
    isa_switches = ISA_SWITCHES
    without_isa_switch = WITHOUT_ISA_SWITCH

    def isa_in_use(self) -> str | None:
        return isa_in_use()

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import numpy as np
        import scipy.signal  # takes longer than a call, so it is imported before the first one
        import scipy.special

        x = np.ascontiguousarray(x)
        correlate = lambda x, w: self._correlate(problem, x, _dilate(problem, w))  # noqa: E731
        ready = prepared(problem, x, w, b, correlate, r, scipy.special.erf)
        plane = self.plane.partition("(")[0]
        return replace(ready, explain=lambda: implementation_with(plane, problem, ()))

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        import scipy.signal  # noqa: F401 - takes longer than a call, so it is imported before the first one

        return prepared_gradient(
            problem,
            g,
            x,
            w,
            lambda g, w: self._send_back(problem, _spread(problem, g), _dilate(problem, w)),
            lambda x, g: self._correlate_with_outputs(problem, x, _spread(problem, g)),
        )

    @abstractmethod
    def _send_back(self, problem: ConvProblem, g: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The gradient of the padded input: `g`, with zeros between its elements, convolved with the dilated weight."""

    @abstractmethod
    def _correlate_with_outputs(self, problem: ConvProblem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The gradient of the weight: the padded input correlated with `g`, with zeros between its elements."""

    @abstractmethod
    def _correlate(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The output from the padded input and the dilated weight."""

    def script(self, problem: ConvProblem) -> str | None:
        (o, own, kh, kw), (dh, dw), (sh, sw) = problem.weight_shape, problem.dilation, problem.stride
        epilogue = [] if problem.epilogue is None else epilogue_lines(problem.epilogue)
        widened = ["r = r.astype(y.dtype)"] if "r" in problem.operand_shapes else []
        needs_erf = problem.epilogue is not None and problem.epilogue.activation == "gelu"
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
            erf="from scipy.special import erf\n" * needs_erf,
            r="r" * len(widened),
            ended="".join(f"    {line}\n" for line in [*widened, *epilogue]),
        )

    def fused_script(self, problem: ConvProblem) -> str | None:
        return self.script(problem)


_SCRIPT = """\
from scipy.signal import {function}
{erf}image, spread = x.astype(np.{computed_in}), np.zeros({spread}, np.{computed_in})
spread[:, :, {taps}] = w
image = {padded}
def convolve({r}):
    y = np.zeros({shape}, image.dtype)
    for n, o, c in np.ndindex({loops}):
        plane, kernel = image[n, o // {filters} * {channels} + c], spread[o, c]
        y[n, o] += {plane}[{strides}]
    y = y if b is None else y + b.astype(y.dtype)[:, None, None]
{ended}    return y.astype(x.dtype)
out = convolve({r})"""


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

    def _send_back(self, problem: ConvProblem, g: np.ndarray, w: np.ndarray) -> np.ndarray:
        import numpy as np
        from scipy.signal import convolve2d

        padded = np.zeros(padded_shape(problem), g.dtype)
        out_channels, channels = w.shape[:2]
        for n, o, c in np.ndindex(problem.batch, out_channels, channels):
            plane = convolve2d(g[n, o], w[o, c], mode="full")
            group = o // (out_channels // problem.groups)
            padded[n, group * channels + c, : plane.shape[0], : plane.shape[1]] += plane
        return padded

    def _correlate_with_outputs(self, problem: ConvProblem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        import numpy as np
        from scipy.signal import correlate2d

        out = np.zeros(problem.weight_shape, g.dtype)
        out_channels, channels = out.shape[:2]
        x = _met(problem, x)
        for n, o, c in np.ndindex(problem.batch, out_channels, channels):
            group = o // (out_channels // problem.groups)
            plane = correlate2d(x[n, group * channels + c], g[n, o], mode="valid")
            out[o, c] += plane[:: problem.dilation[0], :: problem.dilation[1]]
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

    def _send_back(self, problem: ConvProblem, g: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Filter by filter of a group, for all images, groups and channels at once."""
        import numpy as np
        from scipy.fft import set_workers
        from scipy.signal import fftconvolve

        (n, c, *extent), groups = padded_shape(problem), problem.groups
        g = g.reshape(n, groups, -1, 1, *g.shape[2:])
        w = w.reshape(1, groups, -1, *w.shape[1:])
        padded = np.zeros((n, groups, c // groups, *extent), g.dtype)
        with set_workers(self.threads):
            for o in range(g.shape[2]):
                planes = fftconvolve(g[:, :, o], w[:, :, o], mode="full", axes=(-2, -1))
                padded[..., : planes.shape[-2], : planes.shape[-1]] += planes
        return padded.reshape(n, c, *extent)

    def _correlate_with_outputs(self, problem: ConvProblem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        """Image by image, for all groups, filters and channels at once."""
        import numpy as np
        from scipy.fft import set_workers
        from scipy.signal import fftconvolve

        n, groups = problem.batch, problem.groups
        x = _met(problem, x)
        x = x.reshape(n, groups, 1, -1, *x.shape[2:])
        g = g.reshape(n, groups, -1, 1, *g.shape[2:])[..., ::-1, ::-1]  # flipped, because fftconvolve flips it back
        out = np.zeros((groups, g.shape[2], *problem.weight_shape[1:]), g.dtype)
        with set_workers(self.threads):
            for image, of_outputs in zip(x, g, strict=True):
                planes = fftconvolve(image, of_outputs, mode="valid", axes=(-2, -1))
                out += planes[..., :: problem.dilation[0], :: problem.dilation[1]]
        return out.reshape(problem.weight_shape)


def _spread(problem: ConvProblem, g: np.ndarray) -> np.ndarray:
    """`g` with zeros for the positions that the stride leaves out."""
    import numpy as np

    if problem.stride == (1, 1):
        return g
    (sh, sw), (out_h, out_w) = problem.stride, g.shape[2:]
    spread = np.zeros((*g.shape[:2], sh * (out_h - 1) + 1, sw * (out_w - 1) + 1), g.dtype)
    spread[:, :, ::sh, ::sw] = g
    return spread


def _met(problem: ConvProblem, x: np.ndarray) -> np.ndarray:
    """The padded input without the rows and columns at the end that no output meets."""
    spans = zip(problem.output_shape[2:], problem.stride, problem.dilation, problem.kernel_size, strict=True)
    height, width = ((out - 1) * stride + dilation * (kernel - 1) + 1 for out, stride, dilation, kernel in spans)
    return x[:, :, :height, :width]


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
