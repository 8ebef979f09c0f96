"""A recipe of four small arms, and `permtrain` in a process of its own that knows it.

As a program: python sweep_problem.py SIGNAL STEP ARM words of permtrain ...
It sends itself the signal after that step of that arm; SIGNAL 0 for never.
"""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from run_problem import plain, tiny

from permtrain.lab.recipes.recipe import Arm, Budget, Recipe
from permtrain.lab.recipes.registry import RECIPES
from permtrain.lab.training.settings import Settings

FIRST, SECOND = "LaPerm, seed 0", "LaPerm, seed 1"


def arms(budget: Budget) -> list[Arm]:
    epochs = 2 if budget == "quick" else 3
    groups: dict[str, tuple[Settings, float | None]] = {
        "LaPerm": (tiny(epochs=epochs), 99.5),
        "Adam": (plain(epochs=epochs), None),
    }
    return [
        Arm(group, replace(settings, seed=seed), published)
        for group, (settings, published) in groups.items()
        for seed in (0, 1)
    ]


TINY = Recipe("tiny", "for tests", "seconds", arms)


def permtrain(
    folder: Path, *words: str, send: int = 0, step: int = 0, arm: str = ""
) -> "subprocess.Popen[str]":
    """Starts a command with run folders and results in a folder."""
    places = ["--runs-folder", str(folder / "runs"), "--results-folder", str(folder / "out")]
    how = ["--threads", "1", "--device", "cpu"] if words[0] == "run" else []
    tests = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, __file__, str(send), str(step), arm, *words, *places, *how],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, tests])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _main() -> int:
    from permtrain.lab.cli.main import main
    from permtrain.lab.cli.progress import Progress

    send, step, arm = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    def show(self: Progress, done: int, total: int) -> None:
        if self.label.endswith(arm) and done == step:
            os.kill(os.getpid(), signal.Signals(send))

    if send:
        Progress.show = show  # type: ignore[method-assign]
    RECIPES["tiny"] = TINY
    return main(sys.argv[4:])


if __name__ == "__main__":
    sys.exit(_main())
