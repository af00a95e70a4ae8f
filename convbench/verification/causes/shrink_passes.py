"""The passes that make a question smaller: each gives candidates, the boldest first, some of them impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from convbench.problem import Epilogue
from convbench.verification.causes.parameters import NUMBERS, SIDES, WORDS, QuestionParameters

ShrinkPass = Callable[[QuestionParameters], Iterator[QuestionParameters]]

# What may have to shrink together: both axes, both sides, what is multiplied, the image and what must fit into it.
_TOGETHER = (
    ("padding_top", "padding_bottom"),
    ("padding_left", "padding_right"),
    SIDES,
    ("height", "width"),
    ("kernel_height", "kernel_width"),
    ("stride_height", "stride_width"),
    ("dilation_height", "dilation_width"),
    ("channels", "filters"),
    ("height", "kernel_height"),
    ("width", "kernel_width"),
    ("height", "width", "kernel_height", "kernel_width"),
    ("height", "padding_top", "padding_bottom"),
    ("width", "padding_left", "padding_right"),
    ("height", "width", *SIDES),
    ("kernel_height", "padding_top", "padding_bottom"),
    ("kernel_width", "padding_left", "padding_right"),
    ("kernel_height", "kernel_width", *SIDES),
    ("batch", "groups"),
    ("groups", "channels"),
    ("groups", "filters"),
    ("stride_height", "kernel_height"),
    ("stride_width", "kernel_width"),
)
# Where libraries change their ways, and what halving steps over: a failure at multiples of 8 only, say.
_LANDMARKS = (2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 32, 64, 128)


def _word(name: str, form: QuestionParameters) -> Iterator[QuestionParameters]:
    """Every plainer word."""
    known = WORDS[name]
    for word in known[: known.index(getattr(form, name))]:
        yield form.replace(**{name: word})


def _seed(form: QuestionParameters) -> Iterator[QuestionParameters]:
    if form.seed:
        yield form.replace(seed=0)


def _plain_epilogue(form: QuestionParameters) -> Iterator[QuestionParameters]:
    """None at all; or only its sum or its activation; or a ReLU in place of what it has."""
    if form.epilogue is None:
        return
    whole, residual = form.epilogue, form.epilogue.residual
    plainer = [None, Epilogue(activation="relu")]
    if whole.activation is not None:
        plainer += [Epilogue(residual=residual)] if residual else []
        plainer += [replace(whole, residual=None), Epilogue(activation="relu", residual=residual)]
    yield from (form.replace(epilogue=epilogue) for epilogue in plainer if epilogue != whole)


def _one_group(form: QuestionParameters) -> Iterator[QuestionParameters]:
    """One of the groups alone, or all their channels in one group; or fewer groups of as many channels in all."""
    if form.groups == 1:
        return
    yield form.replace(groups=1)
    for groups in range(1, form.groups):
        if form.groups % groups == 0:
            times = form.groups // groups
            yield form.replace(groups=groups, channels=times * form.channels, filters=times * form.filters)


def _plain_stride(form: QuestionParameters) -> Iterator[QuestionParameters]:
    for plain in ({"stride_height": 1, "stride_width": 1}, {"stride_width": 1}, {"stride_height": 1}):
        yield form.replace(**plain)


def _plain_dilation(form: QuestionParameters) -> Iterator[QuestionParameters]:
    """No dilation, perhaps with a kernel as large as it spanned; or none along one axis."""
    none = {"dilation_height": 1, "dilation_width": 1}
    spans = {
        "kernel_height": form.dilation_height * (form.kernel_height - 1) + 1,
        "kernel_width": form.dilation_width * (form.kernel_width - 1) + 1,
    }
    for plain in (none, none | spans, {"dilation_width": 1}, {"dilation_height": 1}):
        yield form.replace(**plain)


def _plain_padding(form: QuestionParameters) -> Iterator[QuestionParameters]:
    """No padding, in an image as it is or as large as it was when padded; or sides alike; or none that are negative."""
    top, bottom, left, right = form.padding
    bare = form.replace(**dict.fromkeys(SIDES, 0))
    yield _fitting(bare)
    yield _fitting(bare.replace(height=form.height + top + bottom, width=form.width + left + right))
    for choose in (max, min):
        rows, columns = choose(top, bottom), choose(left, right)
        both = choose(rows, columns)
        yield _fitting(form.replace(**dict.fromkeys(SIDES, both)))
        yield _fitting(form.replace(**dict(zip(SIDES, (rows, rows, columns, columns), strict=True))))
    yield form.replace(**{side: max(0, getattr(form, side)) for side in SIDES})
    yield form.replace(**{side: abs(getattr(form, side)) for side in SIDES})


def _square(form: QuestionParameters) -> Iterator[QuestionParameters]:
    for name in ("kernel", "stride", "dilation"):
        names = (f"{name}_height", f"{name}_width")
        yield form.replace(**dict.fromkeys(names, min(getattr(form, each) for each in names)))
    yield form.replace(height=min(form.height, form.width), width=min(form.height, form.width))


def _fitting(form: QuestionParameters) -> QuestionParameters:
    """The form in an image that is grown where it would be too small."""
    return form.replace(height=max(form.height, form.least_height()), width=max(form.width, form.least_width()))


def _least(name: str, form: QuestionParameters) -> Iterator[QuestionParameters]:
    yield form.replace(**{name: _limit(form, name)})


def _fewer(names: tuple[str, ...], form: QuestionParameters) -> Iterator[QuestionParameters]:
    """Those numbers all at their least; or less far down by halves; or one less each. Negative ones go up to zero."""
    alone = len(names) == 1
    room = {name: abs(getattr(form, name)) - (_limit(form, name) if alone else name not in SIDES) for name in names}
    down = max(room.values())
    while down > 0:
        by = {name: min(down, room[name]) * (1 if getattr(form, name) > 0 else -1) for name in names}
        yield form.replace(**{name: getattr(form, name) - by[name] for name in names})
        down //= 2


def _landmarks(name: str, form: QuestionParameters) -> Iterator[QuestionParameters]:
    value = getattr(form, name)
    for landmark in _LANDMARKS:
        if landmark < abs(value):
            yield form.replace(**{name: landmark if value > 0 else -landmark})


def _limit(form: QuestionParameters, name: str) -> int:
    if name == "height":
        return form.least_height()
    if name == "width":
        return form.least_width()
    return 0 if name in SIDES else 1


def _made(step: Callable[[Any, QuestionParameters], Iterator[QuestionParameters]], *arguments: Any) -> list[ShrinkPass]:
    return [partial(step, argument) for argument in arguments]


PLAIN_PASSES: tuple[ShrinkPass, ...] = (
    *_made(_word, "values", "layout", "calls"),
    _seed,
    _plain_epilogue,
    *_made(_word, "bias"),
    *_made(_least, "batch"),
    *_made(_word, "padding_mode"),
    _plain_padding,
    _plain_dilation,
    _plain_stride,
    _one_group,
    *_made(_least, "channels", "filters", "kernel_height", "kernel_width", "height", "width"),
)
"""The steps whose first candidate leaves one parameter as plain as can be: words first, then what makes the work."""

PASSES: tuple[ShrinkPass, ...] = (
    *_made(_word, *(name for name in WORDS if name != "dtype")),
    _seed,
    _plain_epilogue,
    _one_group,
    _plain_padding,
    _plain_dilation,
    _plain_stride,
    *_made(_fewer, *((name,) for name in NUMBERS)),
    *_made(_fewer, *_TOGETHER),
    _square,
    *_made(_landmarks, *NUMBERS),
)
"""All of them: where none of these leads down, a question is small. The dtype stays, because another one has kernels of
its own, with causes of their own."""
