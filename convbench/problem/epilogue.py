"""`Epilogue`: what a deployed convolution does to its output before it writes it, an activation and a residual sum.

    y = conv2d(x, w) + b
    out = activation(y + r)      residual "before", as in ResNet's blocks
    out = activation(y) + r      residual "after"

Every value has one spelling, such as `relu`, `add_relu` or `clip-1x1_add`. It is the last part of a case id, and what
`ConvProblem.as_dict` has.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from convbench.errors import ProblemError, did_you_mean

Activation = Literal[
    "relu", "relu6", "leaky_relu", "clip", "hard_swish", "silu", "sigmoid", "gelu", "gelu_tanh"
]  # fmt: skip
Residual = Literal["before", "after"]

ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
RESIDUALS: tuple[Residual, ...] = get_args(Residual)

NO_EPILOGUE = "none"
"""The word for a bare convolution, where a word is needed: in options, tables and conditions."""

_NUMBER = r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:e-?[0-9]{1,3})?"
_SPELLED: dict[Activation, str] = {"leaky_relu": "leaky", "hard_swish": "hswish", "gelu_tanh": "gelutanh"}
_ACTIVATION = "|".join(
    [rf"leaky{_NUMBER}", rf"clip{_NUMBER}x{_NUMBER}", "relu6", "relu", "hswish", "silu", "sigmoid", "gelutanh", "gelu"]
)
PATTERN = rf"(?:add_)?(?:{_ACTIVATION})|(?:{_ACTIVATION})_add|add"
"""A regular expression, without groups, for the spelling of an epilogue."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Epilogue:
    """An activation, a residual sum, or both. A value: nothing is computed here.

    * relu: max(y, 0); relu6: min(max(y, 0), 6); clip: min(max(y, low), high)
    * leaky_relu: y where y > 0, else slope * y
    * sigmoid: 1 / (1 + exp(-y)); silu: y * sigmoid(y); hard_swish: y * min(max(y + 3, 0), 6) / 6
    * gelu: y * (1 + erf(y / sqrt 2)) / 2; gelu_tanh: y * (1 + tanh(sqrt(2 / pi) * (y + 0.044715 y^3))) / 2

    `slope` is for leaky_relu, `low` and `high` are for clip. `residual` says whether an array of the output's shape is
    added before the activation or after it. Without an activation it is "before". A slope of 0 is relu, and a clip from
    0 to 6 is relu6: each function has one value.

    Raises `ProblemError` for what is no such function.
    """

    activation: Activation | None = None
    residual: Residual | None = None
    slope: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        self._check_words()
        self._check_numbers()
        if self.activation == "leaky_relu" and self.slope == 0:
            self._become("relu")
        if self.activation == "clip" and (self.low, self.high) == (0, 6):
            self._become("relu6")
        if self.activation is None:
            object.__setattr__(self, "residual", "before")

    def __str__(self) -> str:
        return "_".join(
            ["add"] * (self.residual == "before") + [self._spelling] * bool(self.activation)
            + ["add"] * (self.residual == "after")
        )  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> Epilogue:
        """The epilogue of a spelling such as `add_relu`, `leaky0.01` or `clip-1x1`. Raises `ProblemError`."""
        if not isinstance(text, str) or not re.fullmatch(PATTERN, text):
            known = (*(_spelling_of(word) for word in ACTIVATIONS), "add", "add_relu", "relu_add")
            shown = repr(text if len(str(text)) <= 40 else str(text)[:37] + "...")
            raise ProblemError(
                f"epilogue is {shown}; it should be an activation such as relu, relu6, leaky0.01, clip-1x1, hswish, "
                "silu, sigmoid, gelu or gelutanh, perhaps with a residual sum, as in add_relu or relu_add."
                f"{did_you_mean(str(text), known)}"
            )
        word = text.removeprefix("add").removesuffix("add").strip("_")
        residual: Residual | None = ("before" if text.startswith("add") else "after") if "add" in text else None
        return cls(residual=residual, **_arguments(word))

    def _check_words(self) -> None:
        for name, known in (("activation", ACTIVATIONS), ("residual", RESIDUALS)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ProblemError(
                    f"{name} is {value!r}; it should be None or one of {', '.join(known)}."
                    f"{did_you_mean(str(value), known)}"
                )
        if self.activation is None and self.residual is None:
            raise ProblemError("an epilogue should have an activation, a residual sum or both; without, give None.")

    def _check_numbers(self) -> None:
        for name, owner in (("slope", "leaky_relu"), ("low", "clip"), ("high", "clip")):
            value = getattr(self, name)
            if (value is not None) != (self.activation == owner):
                needs = "needs" if value is None else "is without"
                raise ProblemError(f"{self.activation or 'an epilogue without an activation'} {needs} {name}.")
            if value is not None:
                object.__setattr__(self, name, _finite(name, value))
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ProblemError(f"clip is from {self.low} to {self.high}; low should be below high.")
        if self.slope == 1:
            raise ProblemError("leaky_relu with slope 1 changes nothing; leave the activation out.")

    def _become(self, activation: Activation) -> None:
        """Take the name of a function that has one of its own."""
        for name, value in {"activation": activation, "slope": None, "low": None, "high": None}.items():
            object.__setattr__(self, name, value)

    @property
    def _spelling(self) -> str:
        word = _spelling_of(self.activation) if self.activation else ""
        if self.slope is not None:
            return f"{word}{_number_text(self.slope)}"
        if self.low is not None and self.high is not None:
            return f"{word}{_number_text(self.low)}x{_number_text(self.high)}"
        return word


def epilogue_of(value: Any) -> Epilogue | None:
    """The forms that `ConvProblem` takes: an `Epilogue`, its spelling, or None. Raises `ProblemError`."""
    return value if value is None or isinstance(value, Epilogue) else Epilogue.parse(value)


def _spelling_of(activation: Activation) -> str:
    return _SPELLED.get(activation, activation)


def _arguments(word: str) -> dict[str, Any]:
    """The arguments of `Epilogue` that the spelling of an activation names; none without one."""
    if word.startswith("leaky"):
        return {"activation": "leaky_relu", "slope": float(word.removeprefix("leaky"))}
    if word.startswith("clip"):
        low, high = map(float, word.removeprefix("clip").split("x"))
        return {"activation": "clip", "low": low, "high": high}
    return {"activation": next(a for a in ACTIVATIONS if _spelling_of(a) == word)} if word else {}


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ProblemError(f"{name} is {value!r}; it should be a finite number.")
    return float(value) + 0.0  # -0.0 becomes 0.0


def _number_text(value: float) -> str:
    return repr(value).removesuffix(".0").replace("e+", "e")


_COMMON = ("relu", "relu6", "leaky0.25", "leaky0.01", "clip-1.5x2.5", "hswish", "silu", "sigmoid", "gelu", "gelutanh")
EPILOGUES: tuple[Epilogue, ...] = (
    *(Epilogue.parse(text) for word in _COMMON for text in (word, f"add_{word}", f"{word}_add")),
    Epilogue.parse("add"),
)
"""One of each kind, as "all" means it: every activation alone and with a residual before and after it, and a sum."""
