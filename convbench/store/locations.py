"""Where results are: `--results DIR`, else `results/` of the checkout one stands in, else the user's data folder."""

from __future__ import annotations

import os
from pathlib import Path

from convbench.errors import ResultsError
from convbench.store.checkout import find_checkout


def results_folder(folder: Path | None = None) -> Path:
    """The results folder; it need not exist yet. A checkout is where `asv.conf.json` stands, here or further up."""
    if folder is not None:
        return folder
    checkout = find_checkout(Path.cwd())
    if checkout is not None:
        return checkout / "results"
    from platformdirs import user_data_path

    return user_data_path("convbench", appauthor=False) / "results"


def machine_folder(results: Path, machine: str) -> Path:
    """The folder of one machine's results, made if need be and tried: raises `ResultsError` if it cannot be written."""
    folder = results / machine
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".writable-{os.getpid()}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ResultsError(
            f"the results folder {folder} cannot be written: {error.strerror or error}. "
            "Give one that can with --results DIR."
        ) from None
    return folder
