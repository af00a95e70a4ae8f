"""The catalogue of quantised problems: that of float32, with the formats that a backend takes in the dtype's place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from convbench.backend import Supports
from convbench.problem import DTYPES, Direction, Quantization
from convbench.problem.quantization import every_quantization, properties_of
from convbench.verification.quantized.data import QUANTIZED_VALUES
from convbench.verification.question import VALUES, Question
from convbench.verification.sweep.catalogue import Catalogue, CombinationListing, Mask, catalogue, none_of
from convbench.verification.sweep.factors import (
    CHANNELS,
    DTYPE,
    FACTORS_QUANTIZED,
    GEOMETRY,
    OTHERS,
    OTHERS_QUANTIZED,
    QUANTIZED,
    VALUES_OF,
    Factor,
)
from convbench.verification.sweep.parameters import WORDS, Parameters

_FLOAT32 = DTYPES.index("float32")
_NAMES = [factor.name for factor in OTHERS]
_FORMATS = slice(len(GEOMETRY) + len(CHANNELS), len(GEOMETRY) + len(CHANNELS) + len(QUANTIZED))


def supported_quantizations(supports: Supports) -> list[Quantization]:
    """Those that a backend with these capabilities takes, the plainest first."""
    own = supports.quantized
    return [] if own is None else [q for q in every_quantization() if own.reason_against(q) is None]


@dataclass(frozen=True)
class QuantizedCatalogue:
    """Every quantised problem that a backend can be asked. `plain` has its geometries, channels and the rest."""

    plain: Catalogue
    formats: CombinationListing
    quantizations: tuple[Quantization, ...]
    factors: tuple[Factor, ...] = FACTORS_QUANTIZED

    @property
    def tables(self) -> list[Mask]:
        """As `Catalogue.tables`, of `factors`."""
        named = dict(zip(_NAMES, self.plain.others, strict=True))
        kinds = zip(named[VALUES_OF.name], VALUES, strict=True)
        named[VALUES_OF.name] = tuple(there and values in QUANTIZED_VALUES for there, values in kinds)
        others = [np.array(named[factor.name]) for factor in OTHERS_QUANTIZED]
        return [self.plain.geometries.possible, self.plain.channels.possible, self.formats.possible, *others]

    def questions(self, row: Sequence[int], variant: int = 0) -> Iterator[Question]:
        """As `Catalogue.questions`, by levels of `factors`."""
        listed = self.formats.numbers_of(row[_FORMATS])
        if not listed:
            return
        quantization = self.quantizations[listed[variant % len(listed)][0]]
        others = {factor.name: level for factor, level in zip(OTHERS_QUANTIZED, row[_FORMATS.stop :], strict=True)}
        if VALUES[others[VALUES_OF.name]] not in QUANTIZED_VALUES:
            return
        others[DTYPE.name] = _FLOAT32
        plain = (*row[: _FORMATS.start], *(others[name] for name in _NAMES))
        for question in self.plain.questions(plain, variant):
            yield question.replace(problem=question.problem.replace(quantization=quantization))

    def usual(self) -> Question:
        """One that a backend most likely takes."""
        return self.plain.usual().replace(
            problem=self.plain.usual().problem.replace(quantization=self.quantizations[0])
        )


def quantized_catalogue(
    supports: Supports, thread_safe: bool, refused: frozenset[str], direction: Direction
) -> QuantizedCatalogue:
    """What a backend with these capabilities can be asked, but for the levels that are `refused`, by their words."""
    plain = catalogue(replace(supports, dtypes=frozenset({"float32"})), thread_safe, refused, direction)
    known = supported_quantizations(supports)
    parameters = _parameters(known)
    kept = np.full(len(known), none_of(refused, QUANTIZED, parameters))
    quantizations = tuple(q for q, is_kept in zip(known, kept, strict=True) if is_kept)
    columns = np.arange(len(quantizations), dtype=np.int16).reshape(1, -1)
    listing = CombinationListing.of(QUANTIZED, columns, _parameters(quantizations), len(quantizations))
    return QuantizedCatalogue(plain, listing, quantizations)


def _parameters(quantizations: Sequence[Quantization]) -> Parameters:
    rows = [properties_of(q) for q in quantizations]
    words = {name: [WORDS[name].index(row[name]) for row in rows] for name in ("input_format", "result_format")}
    truths = {name: [int(row[name]) for row in rows] for name in properties_of(None) if name not in words}
    return {name: np.array(column, np.int64) for name, column in (words | truths).items()}
