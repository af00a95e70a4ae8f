"""What a pass through a suite or a model brings: images for each second, unit of money, and joule."""

from __future__ import annotations

from dataclasses import dataclass

_S_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """A pass that takes `pass_s` seconds and computes `images`. What is None is not known."""

    pass_s: float | None
    images: int | None
    """The batch; None where the cases have several."""
    pass_j: float | None = None
    """The energy of a pass, in joules."""
    price_per_hour: float | None = None

    @property
    def images_per_s(self) -> float | None:
        return self.images / self.pass_s if self.images and self.pass_s else None

    @property
    def images_per_price(self) -> float | None:
        """Images for one unit of the currency."""
        per_s = self.images_per_s
        return per_s * _S_PER_HOUR / self.price_per_hour if per_s and self.price_per_hour else None

    @property
    def images_per_j(self) -> float | None:
        return self.images / self.pass_j if self.images and self.pass_j else None
