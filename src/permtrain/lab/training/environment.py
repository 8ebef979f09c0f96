"""What a run is computed with: versions, device, commit; and whether it still rounds as it did."""

import os
import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

import torch

from permtrain import __version__
from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.training.json_files import read_json, require_values, write_json
from permtrain.lab.training.settings import Place

_PACKAGES = ("torch", "numpy", "datasets", "scikit-learn")


class Environment(TypedDict, total=False):
    """What a run's `environment.json` tells; older ones tell less."""

    packages: dict[str, str | None]
    python: str
    system: str
    device: str
    threads: int
    memory_format: str
    compile: bool
    commit: str | None
    begun: str
    rounds_otherwise: str


def environment(device: torch.device, place: Place) -> dict[str, Any]:
    """What the run is computed with."""
    return {
        "packages": {"permtrain": __version__} | {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "memory_format": place.memory_format,
        "compile": place.compile,
        "commit": commit(),
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _version(package: str) -> str | None:
    """The installed version; None where the package's files are here and nothing says which."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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


def environment_beside(
    file: Path, device: torch.device, place: Place, *, strict: bool = False
) -> dict[str, Any]:
    """What a run goes on with: `environment`, and in `rounds_otherwise` where it no longer goes on
    bit for bit, what is other than in the file, where it was begun.

    Args:
        strict: go on only where nothing is.

    Raises:
        SettingError: something is, and `strict`.
        CheckpointError: the file is missing or damaged.
    """
    begun, now = read_environment(file), environment(device, place)
    otherwise = rounds_otherwise(begun, now)
    if otherwise:
        if strict:
            raise SettingError(
                f"{file.parent} would go on with {otherwise}, so that sums round otherwise; "
                "allowed with --strict: as at its beginning"
            )
        now["rounds_otherwise"] = otherwise
    return now


def note_resumed(file: Path, now: dict[str, Any]) -> None:
    """Add to a run's `environment.json` what it goes on with."""
    begun = read_environment(file)
    write_json(file, begun | {"resumed": [*begun.get("resumed", []), now]})


def rounds_otherwise(begun: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What decides how sums are rounded and is other than it was, both named; None for nothing.

    What an older record does not tell counts as the same.

    Example:
        >>> begun = {"threads": 2, "device": "cpu, 4 cores, x86_64, AVX2"}
        >>> rounds_otherwise(begun, {"threads": 1, "device": "cpu, 8 cores, x86_64, AVX512"})
        'threads 1 in place of 2, device cpu, x86_64, AVX512 in place of cpu, x86_64, AVX2'
    """
    was, is_now = _rounding(begun), _rounding(now)
    changed = [
        f"{name} {value} in place of {was[name]}"
        for name, value in is_now.items()
        if was.get(name, value) != value
    ]
    return ", ".join(changed) or None


def _rounding(computed_with: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: computed_with[name]
        for name in ("threads", "device", "memory_format", "compile")
        if name in computed_with
    }
    if "device" in found:
        found["device"] = re.sub(r"\d+ cores, ", "", found["device"])  # threads are what counts
    if "torch" in (packages := computed_with.get("packages", {})):
        found["torch"] = packages["torch"]
    return found


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
