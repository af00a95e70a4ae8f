"""Where things stand in the checkout, for tests and the scripts that share their support."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
EVALUATION = CHECKOUT / "evaluation"
SUPPORT = CHECKOUT / "tests" / "support"
PLUGINS = SUPPORT / "plugins"
SUITES = CHECKOUT / "suites"
