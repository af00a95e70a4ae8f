"""Seeded faults of the gradients as backends, and a correct one as the control. A plugin file:

    convbench verify --plugin evaluation/mutation/gradient_faults.py --direction weight_gradient --backend 'fault-dw-*'

`evaluation/mutation/gradient_score.py` does so for each alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a plugin is loaded from its file alone

from seeded_faults.gradient import SeededGradient
from seeded_faults.gradients import FAULTS

BACKENDS = (SeededGradient(), *map(SeededGradient, FAULTS))
