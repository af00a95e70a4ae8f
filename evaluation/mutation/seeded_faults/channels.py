"""Faults of channels: groups, filters, bias, batch, and the widths that vector code is written for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convbench.problem import ConvProblem
from seeded_faults.changes import bias, image, kernel, output, zeroed
from seeded_faults.convolution import Array, Steps
from seeded_faults.fault import Fault


def _added(change: Callable[[ConvProblem, Array], Array]) -> Steps:
    """The bias, as the array that is added to sums (N, O, out_h, out_w)."""
    return Steps(add_bias=lambda problem, sums, b: np.asarray(sums + change(problem, b)))


def _group(problem: ConvProblem) -> int:
    return problem.in_channels // problem.groups


def _of_next_group(problem: ConvProblem, x: Array) -> Array:
    return np.roll(x, -_group(problem), axis=1)


def _first_group_for_all(problem: ConvProblem, x: Array) -> Array:
    return np.tile(x[:, : _group(problem)], (1, problem.groups, 1, 1))


def _image_changed(change: Callable[[ConvProblem, Array], Array]) -> Steps:
    return Steps(operands=lambda problem, x, w, b: (change(problem, x), w, b))


def _multiplier_first(problem: ConvProblem, out: Array) -> Array:
    by_channel = out.reshape(problem.batch, problem.groups, -1, *out.shape[2:])
    return by_channel.swapaxes(1, 2).reshape(out.shape)


def _images_and_groups_swapped(problem: ConvProblem, x: Array) -> Array:
    by_group = x.reshape(problem.batch, problem.groups, -1, *x.shape[2:])
    return by_group.swapaxes(0, 1).reshape(x.shape)


def _bias_of_first_group(problem: ConvProblem, b: Array) -> Array:
    first = np.arange(len(b)) < problem.out_channels // problem.groups
    return np.where(first, b, 0)[:, None, None]


def _bias_of_two_images(problem: ConvProblem, b: Array) -> Array:
    return (np.arange(problem.batch) < 2)[:, None, None, None] * b[:, None, None]


def _first_for_second(x: Array) -> Array:
    x = x.copy()
    x[1] = x[0]
    return x


def _rest_left_out(width: int) -> Callable[[Array], Array]:
    def change(w: Array) -> Array:
        return zeroed(slice(None), slice(w.shape[1] // width * width, None))(w)

    return change


def _last_for_first(w: Array) -> Array:
    w = w.copy()
    w[:, 0] = w[:, -1]
    return w


def _counted_in_a_byte(problem: ConvProblem, filters: Array, patches: Array) -> Array:
    taps = np.arange(filters.shape[2]).astype(np.uint8)
    return np.asarray(filters[:, :, taps] @ patches)


def _filters_in_eights(out: Array) -> Array:
    return zeroed(slice(None), slice(out.shape[1] // 8 * 8, None))(out)


def _as_channels_last(array: Array) -> Array:
    return array.transpose(0, 3, 1, 2)


FAULTS = (
    Fault(
        "group-offset",
        "channels",
        "each group reads the channels of the next",
        "n1c4h5w5_o4k3_g2",
        "grouped",
        steps=_image_changed(_of_next_group),
    ),
    Fault(
        "two-groups-ignored",
        "channels",
        "of two groups, the second reads the channels of the first",
        "n1c4h5w5_o4k3_g2",
        "two groups & several channels a group",
        steps=_image_changed(_first_group_for_all),
    ),
    Fault(
        "multiplier-order",
        "channels",
        "depthwise outputs are ordered by filter first, not by channel",
        "n1c3h5w5_o6k3_g3",
        "multiplier",
        steps=Steps(output=_multiplier_first),
    ),
    Fault(
        "images-for-groups",
        "channels",
        "where there are as many groups as images, the two axes are swapped",
        "n2c4h5w5_o4k3_g2",
        "as many groups as images & batch 2+",
        steps=_image_changed(_images_and_groups_swapped),
    ),
    Fault(
        "bias-on-next-channel",
        "channels",
        "each channel gets the bias of the one before",
        "n1c2h5w5_o3k3_bias",
        "biased",
        steps=bias(lambda b: np.roll(b, 1)),
    ),
    Fault(
        "bias-dropped", "channels", "the bias is left out", "n1c2h5w5_o3k3_bias", "biased", steps=bias(np.zeros_like)
    ),
    Fault(
        "bias-twice",
        "channels",
        "the bias is added twice",
        "n1c2h5w5_o3k3_bias",
        "biased",
        steps=_added(lambda problem, b: 2 * b[:, None, None]),
    ),
    Fault(
        "bias-of-first-group-only",
        "channels",
        "only the first group gets its bias",
        "n1c4h5w5_o4k3_g2_bias",
        "biased & grouped",
        steps=_added(_bias_of_first_group),
    ),
    Fault(
        "bias-along-the-width",
        "channels",
        "with as many filters as columns of outputs, the bias is spread along the columns",
        "n1c2h6w6_o4k3_bias",
        "biased & as many filters as columns out",
        steps=_added(lambda problem, b: b),
    ),
    Fault(
        "bias-from-third-image-on",
        "channels",
        "images after the second get no bias",
        "n3c2h5w5_o3k3_bias",
        "biased & batch 3+",
        steps=_added(_bias_of_two_images),
    ),
    Fault(
        "second-image",
        "channels",
        "the second image is taken to be the first",
        "n2c2h5w5_o3k3",
        "batch 2+",
        steps=image(_first_for_second),
    ),
    Fault(
        "channels-in-fours",
        "channels",
        "channels are summed in fours, and the rest left out",
        "n1c6h5w5_o3k3",
        "4+ channels a group, not in fours",
        steps=kernel(_rest_left_out(4)),
    ),
    Fault(
        "channels-in-sixteens",
        "channels",
        "from 16 on, channels are summed in sixteens, and the rest left out",
        "n1c17h4w4_o3k3",
        "16+ channels a group, not in 16s",
        steps=kernel(_rest_left_out(16)),
    ),
    Fault(
        "wide-channels",
        "channels",
        "from 16 channels on, the first is weighted as the last",
        "n1c16h4w4_o3k3",
        "16+ channels a group",
        steps=kernel(_last_for_first),
    ),
    Fault(
        "filters-in-eights",
        "channels",
        "from 8 on, filters are computed in eights, and the rest stays zero",
        "n1c2h4w4_o10k3",
        "8+ filters, not in eights",
        steps=output(_filters_in_eights),
    ),
    Fault(
        "taps-counted-in-a-byte",
        "channels",
        "the 257th product takes the weight of the first, and so on",
        "n1c32h4w4_o2k3",
        "long sums",
        steps=Steps(multiply=_counted_in_a_byte),
    ),
    Fault(
        "single-channel",
        "channels",
        "the short way for images of one channel flips the kernel",
        "n1c1h5w5_o3k3",
        "one channel",
        steps=kernel(lambda w: w[:, :, ::-1, ::-1]),
    ),
    Fault(
        "input-taken-for-channels-last",
        "channels",
        "an input with as many channels as rows and columns is read as NHWC",
        "n1c4h4w4_o3k3",
        "channels, rows and columns alike",
        steps=image(_as_channels_last),
    ),
    Fault(
        "output-taken-for-channels-last",
        "channels",
        "an output with as many channels as rows and columns is given as NHWC",
        "n1c2h6w6_o4k3",
        "filters, rows and columns out alike",
        steps=output(_as_channels_last),
    ),
    Fault(
        "odd-filter-of-a-grouped-half",
        "channels",
        "in half formats with groups and a bias, the last filter stays zero",
        "n1c4h5w5_o4k3_g2_bias_f16",
        "a half format & grouped & biased",
        steps=output(zeroed(slice(None), -1)),
    ),
)
