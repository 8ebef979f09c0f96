"""What belongs to the whole process is changed nowhere, but where a library leaves no other way."""

import logging
import os
import re
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import datasets
import matplotlib as mpl
import pytest
import torch

import permtrain
from permtrain.lab.cli.main import main

PACKAGE = Path(permtrain.__file__).parent

CHANGES = re.compile(
    r"redirect_std|sys\.(path|modules|argv|excepthook|meta_path|setrecursionlimit|set_\w+|std\w+)"
    r"(\.\w+\(| ?=[^=]|\[)|warnings\.(catch|simple|filter|\w+ =)|setLevel"
    r"|logging\.(disable|basicConfig)|progress_bars\(|os\.(umask|chdir|fchdir|putenv|nice|dup2|setsid)\(|os\.environ(\.\w+\(|\[)"
    r"|signal\.(signal|alarm|setitimer)\(|set_default_d|torch\.manual_seed|set_rng_state|set_num_\w+\("
    r"|np\.random\.seed|np\.seterr|set_printoptions|set_flush|set_float32|use_determin|rc_context"
    r"|rcParams|mallopt\(|locale\.set|csv\.field_size|setrlimit|MAX_IMAGE|LOAD_TRUNC|set_start_m"
    r"|fork_rng|gc\.(disable|enable|freeze)|tempfile\.tempdir|faulthandler"
)
READING = re.compile(
    r"os\.environ\.get\(|sys\.modules\.get\(|sys\.modules\[name\]|sys\.argv\[1|sys\.std\w+\.f\w+\("
)

ALLOWED: dict[str, set[str]] = {
    # A process that is one command and nothing else: its streams, width and environment.
    "lab/cli/process.py": {
        "os.environ[",
        "os.environ.pop(",
        "os.environ.setdefault(",
        "warnings.formatwarning =",
    },
    "lab/cli/main.py": {"os.dup2("},
    "lab/training/memory.py": {"mallopt("},
    # Python imports what lies beside a module through finders alone; ours answers one thread.
    "lab/models/own_code.py": {"sys.meta_path.insert(", "sys.meta_path.remove("},
    # Only handlers tell of Ctrl-C; they are put back.
    "lab/training/stopping.py": {"signal.signal("},
    # Matplotlib's writers know these settings from nowhere else.
    "lab/pictures/style.py": {"rc_context"},
    # torch's dropout and its layers' own initial values draw from the process's one generator;
    # its operations have one number of threads.
    "lab/training/device.py": {"set_num_threads("},
    "lab/training/birth.py": {"torch.manual_seed"},
    "lab/training/trainer.py": {"set_rng_state", "fork_rng"},
    "lab/training/evaluation.py": {"fork_rng"},
    "lab/inputs/judge.py": {"fork_rng"},
    "lab/inputs/sortgan.py": {"torch.manual_seed", "set_rng_state"},
    "lab/pictures/runs.py": {"fork_rng"},
}


def changes_in(path: Path) -> set[str]:
    found = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        code = READING.sub("", line.split("  #")[0])
        if ">>>" not in code:
            found |= {match.group() for match in CHANGES.finditer(code)}
    return found


def test_nothing_of_the_process_is_changed_but_what_is_listed() -> None:
    found = {
        str(path.relative_to(PACKAGE)): changes
        for path in sorted(PACKAGE.rglob("*.py"))
        if (changes := changes_in(path))
    }
    assert found == ALLOWED


def state() -> dict[str, Any]:
    """What a caller's process is told by, as far as a command could change it."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.argv, sys.excepthook),
        "imports": (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
        "folder": os.getcwd(),
        "umask": umask,
        "environment": dict(os.environ),
        "signals": {number: signal.getsignal(number) for number in (2, 15, 17)},
        "filters": list(warnings.filters),
        "loggers": [
            logging.getLogger(name).level
            for name in ("", "datasets", "huggingface_hub", "torch", "PIL", "matplotlib")
        ],
        "bars": datasets.are_progress_bars_disabled(),
        "drawing": dict(mpl.rcParams),
        "torch": (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device()),
        "threads": [each.name for each in threading.enumerate()],
    }


NETS = """
import os, sys, warnings, torch, beside
from pathlib import Path
SEEN = Path(os.environ["SEEN"])
SEEN.write_text(repr((sys.path, [id(each) for each in (sys.stderr, sys.stdout)], os.getcwd(),
                      warnings.filters)))
def build(image_shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
"""


TINY = ["--model", "process_nets:build", "--runs-folder", "r", "--threads", "1"]


@pytest.mark.parametrize(
    "command",
    ["train --epochs 1", "train --epochs 0", "verify", "evaluate", "plot histogram", "no such"],
)
def test_a_caller_finds_its_process_as_it_was(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "process_nets.py").write_text(NETS)
    (tmp_path / "beside.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    torch.set_num_threads(1)
    assert main(["train", "--seed", "1", "--epochs", "1", *TINY]) == 0  # libraries are imported now
    (run,) = (tmp_path / "r").iterdir()
    for name in ("process_nets", "beside"):
        del sys.modules[name]
    before = state()
    if command.startswith("train"):
        assert main([*command.split(), *TINY]) == (1 if command.endswith(" 0") else 0)
    elif command == "no such":
        with pytest.raises(SystemExit):
            main(["train", "--no-such-flag"])
    else:
        assert main([*command.split(), str(run)]) == 0
    assert state() == before
    if command in (
        "train --epochs 1",
        "verify",
        "evaluate",
    ):  # and it was so while own code was imported
        streams = [id(each) for each in (sys.stderr, sys.stdout)]
        during = (sys.path, streams, os.getcwd(), warnings.filters)
        assert (tmp_path / "seen").read_text() == repr(during)
