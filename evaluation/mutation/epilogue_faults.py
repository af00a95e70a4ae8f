"""Seeded faults of epilogues as backends, and a correct one as the control. A plugin file:

    convbench verify --plugin evaluation/mutation/epilogue_faults.py --epilogue all --backend 'fault-sum-*'

`evaluation/mutation/epilogue_score.py` does so for each alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a plugin is loaded from its file alone

from seeded_epilogues.epilogue import SeededEpilogue
from seeded_epilogues.faults import FAULTS

BACKENDS = (SeededEpilogue(), *map(SeededEpilogue, FAULTS))
