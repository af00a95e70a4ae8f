"""Seeded faults of quantised convolutions as backends, and correct ones as controls, one for each rounding. A plugin:

    convbench verify --plugin evaluation/mutation/quantized_faults.py --dtype int8 --backend fault-padding-of-zeros

`evaluation/mutation/quantized_score.py` does so for each alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a plugin is loaded from its file alone

from seeded_faults.quantizations import FAULTS
from seeded_faults.quantized import ROUNDED, SeededQuantized

CONTROLS = tuple(SeededQuantized(halves=halves) for halves in ROUNDED)
BACKENDS = (*CONTROLS, *map(SeededQuantized, FAULTS))
