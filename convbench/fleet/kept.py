"""The journals that a machine keeps of campaigns, until a coordinator has all that is in them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from convbench.store.journal import SUFFIX, journals

NEWEST = 5
"""So many campaigns are kept, although a coordinator has them."""


def kept_folder() -> Path:
    """Where this machine keeps the journals of campaigns."""
    from platformdirs import user_data_path

    return user_data_path("convbench", appauthor=False) / "fleet"


def remove_gathered(folder: Path, gathered: Mapping[str, Sequence[str]], under_way: str) -> None:
    """Remove journals from `folder`, which has a folder for each campaign: those in `gathered`, by campaign, which a
    coordinator has on its disk as a whole. The newest campaigns and the one that is under way stay."""
    campaigns = sorted({path.parent for path in journals(folder)} - {folder})  # their names begin with the time
    for campaign in campaigns[:-NEWEST]:
        if campaign.name != under_way:
            for journal in journals(campaign):
                if journal.stem in gathered.get(campaign.name, ()):
                    journal.unlink(missing_ok=True)
            if not any(campaign.glob(f"*{SUFFIX}")):  # the rest is what its runs have learnt for each other
                shutil.rmtree(campaign, ignore_errors=True)
