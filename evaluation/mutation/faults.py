"""Seeded faults as backends, and correct ones as controls: what a verifier has to tell apart. A plugin file:

    convbench verify --plugin evaluation/mutation/faults.py --backend 'fault-*' --backend 'sound*'

`evaluation/mutation/mutation_score.py` does so for each alone, beside what common criteria say.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a plugin is loaded from its file alone

from seeded_faults import breakdowns, channels, geometry, memory, padding, precision, state, values
from seeded_faults.controls import CONTROLS
from seeded_faults.fault import Seeded

FAULTS = tuple(
    fault
    for family in (geometry, padding, channels, precision, values, state, memory, breakdowns)
    for fault in family.FAULTS
)
BACKENDS = (*CONTROLS, *map(Seeded, FAULTS))
