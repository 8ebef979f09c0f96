"""Write the pages in docs/ that are made from results/, a picture, and README.md's results.

Run as: python docs/make_tables.py
"""

import sys
from pathlib import Path

from pages.across import across_page
from pages.inputs import inputs_page
from pages.regression import draw_regression, regression_page
from pages.reproduction import reproduction_page, summary
from pages.sgperm import sgperm_page
from pages.speed import speed_page
from pages.tiny import tiny_page
from pages.transformers import transformers_page

from permtrain.files import written_whole

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- /results -->"


def with_summary(readme: str) -> str:
    """Return the README's text with its results made anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{summary()}\n{END}{after}"


def main() -> int:
    """Write the pages; with --check, tell by the exit code whether they are up to date."""
    made = {
        DOCS / "inputs.md": inputs_page(),
        DOCS / "across.md": across_page(),
        DOCS / "regression.md": regression_page(),
        DOCS / "reproduction.md": reproduction_page(),
        DOCS / "sgperm.md": sgperm_page(),
        DOCS / "speed.md": speed_page(),
        DOCS / "tiny.md": tiny_page(),
        DOCS / "transformers.md": transformers_page(),
        README: with_summary(README.read_text()),
    }
    if "--check" in sys.argv:
        return int(any(not path.exists() or path.read_text() != made[path] for path in made))
    for path, text in made.items():
        with written_whole(path) as file:
            file.write(text.encode())
    draw_regression(DOCS / "regression.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
