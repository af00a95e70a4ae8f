"""Which traits failures share and passes lack, and how much information that carries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Trait = tuple[str, str]
"""A factor and the class that a question has in it: ("stride", "unequal strides")."""
Traits = frozenset[Trait]

_MOST_TRAITS = 3
# Of the questions that have a combination, the share that should fail: with less it is half of a cause, or what several
# have in common, and is given only where there is nothing better.
_LEAST_FAILING = 0.25


@dataclass(frozen=True)
class Combination:
    """Parameter classes that failures share, and how often they occur together: in `failures` of `of_failures` failures
    of a cause, and in `passes` of `of_passes` questions that passed."""

    classes: tuple[Trait, ...]
    failures: int
    of_failures: int
    passes: int
    of_passes: int

    @property
    def words(self) -> str:
        """The classes in a row: "depthwise, stride 2 and a bias"."""
        words = [word for _, word in self.classes]
        return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))

    def __str__(self) -> str:
        failures = f"{self.failures:,} of {self.of_failures:,} failures"
        passes = f"{self.passes:,}" if self.passes else "none"
        return f"{self.words}: in {failures} and {passes} of {self.of_passes:,} passes"


class Occurrences:
    """Which of a number of questions have which trait: `bits` of a trait are the questions that have it."""

    def __init__(self, questions: Sequence[Traits]) -> None:
        self.count = len(questions)
        numbers: dict[Trait, list[int]] = {}
        for number, traits in enumerate(questions):
            for trait in traits:
                numbers.setdefault(trait, []).append(number)
        self.bits = {trait: _bits(some, self.count) for trait, some in numbers.items()}

    def with_trait(self, trait: Trait, numbers: Iterable[int]) -> Occurrences:
        """The same, and a trait of the questions of these numbers."""
        more = Occurrences([])
        more.count = self.count
        more.bits = self.bits | {trait: _bits(numbers, self.count)}
        return more

    def having(self, traits: Iterable[Trait]) -> int:
        """How many have all of them."""
        bits = (1 << self.count) - 1
        for trait in traits:
            bits &= self.bits.get(trait, 0)
        return bits.bit_count()


class TraitCounts:
    """Failures beside passes."""

    def __init__(self, failures: Occurrences, passes: Occurrences) -> None:
        self._failures, self._passes = failures, passes
        self._different = len(failures.bits | passes.bits)

    def best(
        self, traits: Iterable[Trait], whole: Trait | None = None, most_traits: int = _MOST_TRAITS
    ) -> list[Traits]:
        """The combinations of up to `most_traits` of `traits` that explain most, all of them equally well.

        The measure is the information, in bits over all questions, that having the combination gives on failing, less
        the bits that it takes to name so many traits: one trait more must explain more. `whole` stands alone, at the
        price of `most_traits`. Empty when no combination explains anything.
        """
        bits_of: dict[Traits, float] = {}
        ordered = sorted(trait for trait in traits if trait in self._failures.bits)
        for count in range(1, most_traits + 1):
            for some in itertools.combinations(ordered, count):
                bits_of[frozenset(some)] = self._information_bits(some, count)
        if whole is not None:
            bits_of[frozenset([whole])] = self._information_bits([whole], most_traits)
        telling = {some: bits for some, bits in bits_of.items() if bits > 0}
        better = {some: bits for some, bits in telling.items() if self._fails_often(some)} or telling
        most = max(better.values(), default=0.0)
        return [some for some, bits in better.items() if bits > most - 1e-9]

    def count(self, traits: Traits) -> Combination:
        """How often `traits` occur together."""
        failures, passes = self._failures, self._passes
        ordered = tuple(sorted(traits))
        return Combination(ordered, failures.having(ordered), failures.count, passes.having(ordered), passes.count)

    def _fails_often(self, traits: Iterable[Trait]) -> bool:
        failures, passes = self._failures.having(traits), self._passes.having(traits)
        return failures >= _LEAST_FAILING * (failures + passes)

    def _information_bits(self, traits: Sequence[Trait], priced_as: int) -> float:
        all_failures, all_passes = self._failures.count, self._passes.count
        failures, passes = self._failures.having(traits), self._passes.having(traits)
        if failures * all_passes <= passes * all_failures:
            return -math.inf  # it marks passes
        after = _uncertainty(failures, passes) + _uncertainty(all_failures - failures, all_passes - passes)
        price = math.log2(math.comb(max(self._different, 2 * _MOST_TRAITS), priced_as))
        return _uncertainty(all_failures, all_passes) - after - price


def _bits(numbers: Iterable[int], count: int) -> int:
    flags = bytearray(count // 8 + 1)
    for number in numbers:
        flags[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(flags, "little")


def _uncertainty(one: int, other: int) -> float:
    """Bits that it takes to say, of `one` + `other` questions, which are which, when their numbers are known."""
    if one == 0 or other == 0:
        return 0.0
    total = one + other
    return one * math.log2(total / one) + other * math.log2(total / other)
