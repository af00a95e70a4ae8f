"""Metamorphic relations: the same convolution put another way, or in parts, must give the same answer.

They need no reference. On integers whose sums are exact (`operands.integer_operands`) the two answers are equal to the
last bit: zeros that a restatement adds leave every sum as it is, and parts are added only in formats that hold them.

The adjoints, <conv(x, w), g> = <x, input_gradient(g, w)> = <w, weight_gradient(x, g)>, are not among them, because no
backend computes the two gradients yet.
"""

from __future__ import annotations

from convbench.verification.relations.channels import OF_CHANNELS
from convbench.verification.relations.geometry import OF_GEOMETRY
from convbench.verification.relations.relation import Relation

__all__ = ["RELATIONS", "Relation"]

RELATIONS: tuple[Relation, ...] = (*OF_GEOMETRY, *OF_CHANNELS)
