"""What a run is computed with: versions, device, commit."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import torch

from permtrain.errors import CheckpointError
from permtrain.lab.training.json_files import read_json, require_values, write_json

_PACKAGES = ("permtrain", "torch", "numpy", "datasets", "scikit-learn")


class Environment(TypedDict, total=False):
    """What a run's `environment.json` tells; older ones tell less."""

    packages: dict[str, str]
    python: str
    system: str
    device: str
    threads: int
    commit: str | None
    begun: str


def environment(device: torch.device) -> dict[str, Any]:
    """What the run is computed with."""
    return {
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def read_environment(file: Path) -> dict[str, Any]:
    """What a run was computed with.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    begun = read_json(file)
    require_values(begun, Environment, str(file))
    resumed = begun.get("resumed", [])
    if not isinstance(resumed, list):
        raise CheckpointError(f"{file}: resumed is {resumed!r}; allowed: a list")
    for each in resumed:
        require_values(each, Environment, f"{file}: resumed")
    return begun


def note_resumed(file: Path, device: torch.device) -> None:
    """Add to a run's `environment.json` what it goes on with."""
    begun = read_environment(file)
    resumed = [*begun.get("resumed", []), environment(device)]
    write_json(file, begun | {"resumed": resumed})


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's cores, kind and torch's choice of instructions.

    These are part of what decides how sums are split, and so rounded: on another processor the
    same run ends elsewhere, after a few epochs by some tenths of a percent.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"cpu, {os.cpu_count()} cores, {platform.machine()}, {instructions}"


def commit() -> str | None:
    """The commit of the checkout this package runs from, with "+" if files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    tracked = git("ls-files", "--error-unmatch", Path(__file__).name)
    head = git("rev-parse", "HEAD")
    if not tracked or not head:  # installed as a package, perhaps inside somebody's repository
        return None
    return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
