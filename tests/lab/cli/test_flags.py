"""Commands have the flags that mean something to them, and no others."""

import re

import docstring_parser
import pytest

from permtrain.lab.cli.main import COMMANDS, main
from permtrain.lab.training.settings import InitialSettings, Place, Settings

LOOKING = {"data-folder", "device", "threads"}
CEILINGS = {"max-weights", "max-header"}
RESUMING = {
    "memory-format",
    "compile",
    "checkpoint-steps",
    "keep-checkpoints",
    "tensorboard",
    "logger",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_breaks_no_line_where_its_source_does(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    with pytest.raises(SystemExit):
        main([command, "--help-all"])
    said = capsys.readouterr().out
    described = docstring_parser.parse(COMMANDS[command].__doc__ or "").params
    if command == "train":
        for kind in (Place, Settings, InitialSettings):
            described += docstring_parser.parse_from_object(kind).params
        assert len(described) > 30
    for each in described:
        text = " ".join((each.description or "").split())
        if len(text) < 250:  # more do not fit beside the other groups of options
            assert text in said


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("evaluate", LOOKING | {"memory-format", "checkpoint", "trust-model", "accept-changes"}),
        ("predict", LOOKING | {"memory-format", "checkpoint", "most", "trust-model"}),
        ("verify", LOOKING | {"checkpoint", "trust-model"}),
        ("pack", LOOKING | CEILINGS | {"checkpoint", "output", "trust-model"}),
        (
            "report",
            LOOKING
            | CEILINGS
            | {"runs-folder", "output", "watch", "every", "budget", "trust-model"},
        ),
        (
            "gather",
            LOOKING | CEILINGS | {"runs-folder", "more-runs-folders", "results-folder", "budget"},
        ),
        ("resume", LOOKING | RESUMING | {"checkpoint", "accept-changes", "strict"}),
    ],
)
def test_a_commands_own_flags(
    command: str, flags: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = set(re.findall(r"--([a-z][a-z-]+)", capsys.readouterr().out))
    assert {flag for flag in said if not flag.startswith("no-")} == flags | {"help"}
    with pytest.raises(SystemExit):
        main([command, "runs/a", "--lr", "1"])
