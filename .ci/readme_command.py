"""Print the command that README.md gives under `<!-- command: NAME -->`: CI runs what users are told to run."""

import re
import sys
from pathlib import Path

readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
found = re.search(rf"<!-- command: {re.escape(sys.argv[1])} -->\s*```\w*\n(.*?)```", readme, re.DOTALL)
if found is None:
    sys.exit(f"README.md has no command called {sys.argv[1]!r}")
sys.stdout.write(found[1])
