"""Makes the modules of docs/ importable as they are for docs/make_tables.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
