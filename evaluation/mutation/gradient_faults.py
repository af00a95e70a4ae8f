"""Seeded faults of the gradients and of training steps as backends, and the correct ones as a control. A plugin file:

    convbench verify --plugin evaluation/mutation/gradient_faults.py --direction weight_gradient --backend 'fault-dw-*'

`evaluation/mutation/gradient_score.py` does so for each alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a plugin is loaded from its file alone

from seeded_faults import gradients, steps
from seeded_faults.training import SeededTraining

BACKENDS = (SeededTraining(), *map(SeededTraining, (*gradients.FAULTS, *steps.FAULTS)))
