"""Faults of geometry: which pixel a tap meets, and how many outputs there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from seeded_faults.changes import axes, both, image, kernel, of_rows, output, plan, swapped
from seeded_faults.convolution import Array
from seeded_faults.fault import Fault


def _without_last_tap(w: Array) -> Array:
    w = w.copy()
    w[:, :, -1, -1] = 0
    return w


def _one_row_more(out: Array) -> Array:
    return np.pad(out, ((0, 0), (0, 0), (0, 1), (0, 0)), "edge")


FAULTS = (
    Fault(
        "stride-swapped",
        "geometry",
        "strides of the two axes are swapped",
        "n1c2h7w7_o3k3_s2x1",
        "unequal stride",
        steps=swapped("stride"),
    ),
    Fault("stride-ignored", "geometry", "every stride is 1", "n1c2h7w7_o3k3_s2", "strided", steps=both(stride=1)),
    Fault(
        "stride-of-rows-for-both",
        "geometry",
        "the stride of rows is used for columns, too",
        "n1c2h7w7_o3k3_s1x3",
        "unequal stride",
        steps=of_rows("stride"),
    ),
    Fault(
        "dilation-swapped",
        "geometry",
        "dilations of the two axes are swapped",
        "n1c2h9w9_o3k3_d2x1",
        "unequal dilation",
        steps=swapped("dilation"),
    ),
    Fault("dilation-ignored", "geometry", "every dilation is 1", "n1c2h9w9_o3k3_d2", "dilated", steps=both(dilation=1)),
    Fault(
        "dilation-of-rows-for-both",
        "geometry",
        "the dilation of rows is used for columns, too",
        "n1c2h9w9_o3k3_d1x3",
        "unequal dilation",
        steps=of_rows("dilation"),
    ),
    Fault(
        "kernel-flipped",
        "geometry",
        "a true convolution: the kernel is flipped on both axes",
        "n1c2h5w5_o3k3",
        steps=kernel(lambda w: w[:, :, ::-1, ::-1]),
    ),
    Fault(
        "kernel-flipped-in-rows",
        "geometry",
        "the kernel is upside down",
        "n1c2h5w5_o3k3",
        steps=kernel(lambda w: w[:, :, ::-1]),
    ),
    Fault(
        "square-kernel-transposed",
        "geometry",
        "rows and columns of a square kernel are swapped",
        "n1c2h5w5_o3k3",
        "square kernel",
        steps=kernel(lambda w: w.swapaxes(2, 3)),
    ),
    Fault(
        "square-image-transposed",
        "geometry",
        "rows and columns of a square image are swapped",
        "n1c2h5w5_o3k3",
        "square image",
        steps=image(lambda x: x.swapaxes(2, 3)),
    ),
    Fault(
        "output-size-rounded-up",
        "geometry",
        "one row too many where the stride leaves a rest",
        "n1c2h8w8_o3k3_s2",
        "stride leaves a rest",
        steps=output(_one_row_more),
    ),
    Fault(
        "output-size-when-stride-over-kernel",
        "geometry",
        "one row too many where the stride is larger than the kernel",
        "n1c2h7w7_o3k2_s3",
        "stride over kernel",
        steps=output(_one_row_more),
    ),
    Fault(
        "stride-over-kernel",
        "geometry",
        "a stride larger than the kernel is cut to the kernel",
        "n1c2h9w9_o3k2_s3",
        "stride over kernel",
        steps=axes(lambda axis: replace(axis, stride=min(axis.stride, axis.kernel))),
    ),
    Fault(
        "kernel-over-image",
        "geometry",
        "the last tap of a kernel that is larger than the image is dropped",
        "n1c2h2w4_o3k3_p1",
        "kernel over image",
        steps=kernel(_without_last_tap),
    ),
    Fault(
        "row-kernel",
        "geometry",
        "a 1xN kernel is flipped",
        "n1c2h5w7_o3k1x3",
        "1xN kernel",
        steps=kernel(lambda w: w[..., ::-1]),
    ),
    Fault(
        "column-kernel",
        "geometry",
        "padding in front is left out for Nx1 kernels",
        "n1c2h5w7_o3k3x1_p1x0",
        "Nx1 kernel & padded",
        steps=both(before=0),
    ),
    Fault(
        "even-kernel",
        "geometry",
        "an even kernel is centred on its other middle tap",
        "n1c2h6w6_o3k2_p1",
        "even kernel & padded",
        steps=axes(lambda axis: replace(axis, before=axis.before + (axis.kernel % 2 == 0))),
    ),
    Fault(
        "pointwise-ignores-padding",
        "geometry",
        "the short way for 1x1 kernels does not pad",
        "n1c2h4w4_o3k1_p1",
        "1x1 kernel & padded",
        steps=both(before=0),
    ),
    Fault(
        "pointwise-ignores-stride",
        "geometry",
        "the short way for 1x1 kernels does not stride",
        "n1c2h4w4_o3k1_s2",
        "1x1 kernel & strided",
        steps=both(stride=1),
    ),
    Fault(
        "depthwise-ignores-dilation",
        "geometry",
        "the depthwise kernel does not dilate",
        "n1c3h7w7_o3k3_d2_g3",
        "depthwise & dilated",
        steps=both(dilation=1),
    ),
    Fault(
        "strided-dilated-groups",
        "geometry",
        "dilation is ignored where there are stride and groups, too",
        "n1c4h9w9_o4k3_s2_d2_g2",
        "strided & dilated & grouped",
        steps=both(dilation=1),
    ),
    Fault(
        "depthwise-row-kernel-unequal-stride",
        "geometry",
        "strides are swapped for depthwise 1xN kernels",
        "n1c3h7w9_o3k1x3_s2x1_g3",
        "depthwise & 1xN kernel & unequal stride",
        steps=swapped("stride"),
    ),
    Fault(
        "one-row-out-strided-dilated",
        "geometry",
        "a single row of outputs is computed without dilation where there is a stride",
        "n1c2h5w9_o3k3_s2_d2",
        "one row out & strided & dilated",
        steps=both(dilation=1),
    ),
    Fault(
        "one-column-of-one-channel",
        "geometry",
        "with one channel to a group, several filters and one column out, all taps of a row are the first, in bfloat16",
        "n1c2h4w3_o4k1x3_s1x2_g2_bf16",
        "bfloat16 & multiplier & one column out & stride 1 down, more across",
        steps=plan(lambda plan: replace(plan, columns=replace(plan.columns, dilation=0))),
    ),
)
