"""Why JAX is slow on the CPU where a kernel has more taps than the image has pixels, as in DCGAN's first layer.

XLA's algebraic simplifier then takes the image for the kernel, and the kernel for the image, which leaves a kernel that
is turned round. No library of XLA's computes that on the CPU, so a plain loop does.

    python evaluation/engines/jax_operand_swap.py

Prints CPU milliseconds of one call, the least of 5, on one thread, and what XLA made of it: by `jax.vjp`; with the
simplifier left out; and in forms that XLA does not swap. It needs jax, and takes a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

_CALLS = 5
_LAYOUT = ("NCHW", "OIHW", "NCHW")
_WITHOUT_SIMPLIFIER = "--xla_disable_hlo_passes=algsimp"


def main() -> None:
    for flags in ("", _WITHOUT_SIMPLIFIER):
        environment = {**os.environ, "NPROC": "1", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        print(f"XLA_FLAGS={flags!r}", flush=True)
        subprocess.run(
            [sys.executable, __file__, "measure", *(["all"] if not flags else [])], env=environment, check=True
        )


def measure(*, in_every_form: bool) -> None:
    rng = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32)

    first, second = (drawn(4, 1024, 4, 4), drawn(1024, 512, 5, 5)), (drawn(4, 512, 8, 8), drawn(512, 256, 5, 5))
    _print("DCGAN, first layer, 4x4 to 8x8, jax.vjp", _vjp, *first)
    if in_every_form:
        _print("  lax.conv_transpose", _conv_transpose, *first)
        _print("  zeros between the pixels by lax.pad", _zeros_by_hand, *first)
        _print("  one row of zeros round it, kept by a barrier", _padded_behind_a_barrier, *first)
    _print("DCGAN, second layer, 8x8 to 16x16, jax.vjp", _vjp, *second)
    for size in (4, 5):
        _print(
            f"forward, 5x5 over {size}x{size}, 256 channels", _forward, drawn(4, 256, size, size), drawn(256, 256, 5, 5)
        )


def _forward(x: Any, w: Any, stride: int = 1) -> Any:
    from jax import lax

    sides = ((2, 2), (2, 2))
    return lax.conv_general_dilated(x, w, (stride, stride), sides, dimension_numbers=_LAYOUT, precision="highest")


def _vjp(g: Any, w: Any) -> Any:
    import jax
    from jax import numpy as jnp

    n, _, rows, columns = g.shape
    x = jnp.zeros((n, w.shape[1], 2 * rows, 2 * columns))
    return jax.vjp(lambda x: _forward(x, w, stride=2), x)[1](g)[0]


def _conv_transpose(g: Any, w: Any) -> Any:
    from jax import lax

    sides = ((2, 3), (2, 3))
    return lax.conv_transpose(
        g, w, (2, 2), sides, dimension_numbers=_LAYOUT, transpose_kernel=True, precision="highest"
    )


def _zeros_by_hand(g: Any, w: Any) -> Any:
    from jax import lax

    none, around = (0, 0, 0), (2, 3, 1)
    g = lax.pad(g, np.float32(0), (none, none, around, around))
    w = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    return lax.conv_general_dilated(g, w, (1, 1), "VALID", dimension_numbers=_LAYOUT, precision="highest")


def _padded_behind_a_barrier(g: Any, w: Any) -> Any:
    from jax import lax
    from jax import numpy as jnp

    g = lax.optimization_barrier(jnp.pad(g, ((0, 0), (0, 0), (1, 1), (1, 1))))
    w = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    sides = ((0, 1), (0, 1))
    return lax.conv_general_dilated(
        g, w, (1, 1), sides, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT, precision="highest"
    )


_expected: dict[tuple[int, ...], Any] = {}


def _print(name: str, function: Callable[..., Any], *operands: Any) -> None:
    """One line: the name, the time, and the window of the convolution that XLA compiles. All forms have to agree."""
    import jax

    computed = jax.jit(function)
    hlo = computed.lower(*operands).compile().as_text()
    [window] = (line.split("window={")[1].split("}")[0] for line in hlo.splitlines() if " convolution(" in line)
    output = np.asarray(computed(*operands))
    np.testing.assert_allclose(output, _expected.setdefault((*output.shape, *operands[0].shape), output), atol=1e-2)
    times = []
    for _ in range(_CALLS):
        start = time.process_time()
        jax.block_until_ready(computed(*operands))
        times.append(time.process_time() - start)
    print(f"  {name:52} {1e3 * min(times):8.1f} ms  {window}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(in_every_form=sys.argv[2:] == ["all"])
    else:
        main()
