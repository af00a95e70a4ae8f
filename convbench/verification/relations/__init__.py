"""Metamorphic relations: the same convolution put another way, or in parts, must give the same answer.

They need no reference. On integers whose sums are exact (`operands.integer_operands`) the two answers are equal to the
last bit: zeros that a restatement adds leave every sum as it is, and parts are added only in formats that hold them.
In quantised problems zeros are zero points. Answers there may differ by what the declared rounding leaves open, which
is nothing where all scales are powers of two, unless a backend declares fixed point.

Gradients are held to the convolution that they are the adjoints of. Epilogues are held to the bare convolution, where
they are exact on integers.
"""

from __future__ import annotations

from convbench.verification.relations.adjoints import OF_ADJOINTS
from convbench.verification.relations.channels import OF_CHANNELS
from convbench.verification.relations.epilogues import OF_EPILOGUES
from convbench.verification.relations.geometry import OF_GEOMETRY
from convbench.verification.relations.quantizations import OF_QUANTIZATIONS
from convbench.verification.relations.relation import Relation

__all__ = ["RELATIONS", "Relation"]

RELATIONS: tuple[Relation, ...] = (*OF_GEOMETRY, *OF_CHANNELS, *OF_QUANTIZATIONS, *OF_ADJOINTS, *OF_EPILOGUES)
