"""The arms of a recipe over processes and machines: one arm, one process, one folder.

Nobody hands arms out. Whoever comes first locks an arm's folder, others pass by; a scheduler may
give each of its processes a part.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from permtrain.errors import NonFiniteError, SettingError
from permtrain.lab.recipes.recipe import Arm, Recipe
from permtrain.lab.training.device import device_at
from permtrain.lab.training.display import Display
from permtrain.lab.training.json_files import write_json
from permtrain.lab.training.optimizers import require_library
from permtrain.lab.training.run import resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder, new_run_folder
from permtrain.lab.training.settings import DataSettings, Place, Settings, run_name
from permtrain.lab.training.stopping import Interrupted
from permtrain.lab.training.trainer import Diverged

State: TypeAlias = Literal["complete", "failed", "begun", "not begun"]


def matching_arms(arms: Sequence[Arm], only: str = "*", part: str = "1/1") -> list[Arm]:
    """The arms whose name matches a pattern, and of these every n-th from the i-th on.

    Args:
        arms: all of a recipe.
        only: as in a shell, for the whole name, with its seed or without.
        part: `i/n`; the n parts are disjoint and together all of them.

    Raises:
        SettingError: the pattern matches no arm (names some that are near), or the part is none.

    Example:
        >>> from permtrain.lab.training.settings import Settings
        >>> arms = [Arm(group, Settings()) for group in "abcde"]
        >>> [arm.group for arm in matching_arms(arms, part="2/3")]
        ['b', 'e']
        >>> [arm.name for arm in matching_arms(arms, only="c")]
        ['c, seed 0']
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", part)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise SettingError(f"part is {part!r}; allowed: i/n, i from 1 to n, as in 2/4")
    matching = [arm for arm in arms if fnmatchcase(arm.name, only) or fnmatchcase(arm.group, only)]
    if not matching:
        groups = list(dict.fromkeys(arm.group for arm in arms))
        near = difflib.get_close_matches(only, groups, n=3) or groups[:3]
        raise SettingError(
            f"only is {only!r}, which matches no arm; there are, for example: {'; '.join(near)} "
            "(all: permtrain recipes ID)"
        )
    return matching[number - 1 :: of]


def data_of(arms: Iterable[Arm]) -> list[str]:
    """The data sets that arms need, each once. A task's settings call theirs `data` too.

    Example:
        >>> from permtrain.lab.training.settings import Settings
        >>> data_of([Arm("a", Settings()), Arm("b", Settings())])
        ['digits']
    """
    named = (getattr(arm.settings, "data", None) for arm in arms)
    names = (data.data if isinstance(data, DataSettings) else data for data in named)
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def require_libraries(arms: Iterable[Arm]) -> None:
    """Refuses arms that want a library that is not installed. Tasks do so when they begin.

    Raises:
        SettingError: saying what installs it.
    """
    for arm in arms:
        if isinstance(arm.settings, Settings):
            require_library(arm.settings.optimizer)


def state_of(folder: RunFolder) -> State:
    """How far an arm is, by its folder."""
    if folder.is_complete:
        return "complete"
    if folder.failure_file.is_file():
        return "failed"
    return "begun" if folder.path.exists() else "not begun"


def compute(recipe: Recipe, arm: Arm, place: Place, display: Display) -> None:
    """Begins an arm or goes on with it; when this returns, it is complete.

    A failure is written into the arm's folder, for the results.

    Raises:
        RunIsBusy, RunIsBegun: another process computes it, or has done so since we looked.
        CheckpointError: its folder is damaged.
        Diverged, NonFiniteError: it failed.
        Interrupted: the user stopped it.
    """
    folder = RunFolder(recipe.folder(arm, place.runs_folder))
    folder.failure_file.unlink(missing_ok=True)
    try:
        if recipe.task is not None:
            recipe.task.run(arm.settings, place, display)
        elif folder.path.exists():
            resume_run(folder.path, place, display=display)
        else:
            start_run(arm.settings, place, display=display, only_once=True)
    except Interrupted:
        # What a run says of itself, `permtrain resume`, leaves the other arms and the results out.
        saved = f"stopped; saved in {place.runs_folder}; the same command goes on"
        raise Interrupted(saved) from None
    except (Diverged, NonFiniteError) as error:
        if not folder.path.exists():  # what failed is the training of the weights that it shuffles
            name, device = run_name(arm.settings), device_at(place)
            folder = new_run_folder(
                place.runs_folder, name, arm.settings, place, device, only_once=True
            )
        write_json(folder.failure_file, {"error": f"{type(error).__name__}: {error}"})
        raise
