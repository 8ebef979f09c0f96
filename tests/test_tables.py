"""The generated pages in docs/ are those of results/."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_pages_are_made_from_results() -> None:
    command = [sys.executable, "docs/make_tables.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, "make tables\n" + done.stderr
