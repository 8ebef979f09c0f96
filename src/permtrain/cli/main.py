"""The command line: a table from name to function.

Commands import what they need when they run, so that `--help` answers before torch is loaded.
"""

import sys
from collections.abc import Callable
from typing import Any

import tyro

from permtrain.cli.catalogue import show_catalogue
from permtrain.cli.inspect import evaluate, verify
from permtrain.cli.recipes import recipes, run
from permtrain.cli.train import resume, train
from permtrain.errors import PermtrainError

COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "verify": verify,
    "list": show_catalogue,
    "recipes": recipes,
    "run": run,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a user's mistake is one line on standard error, and exit code 1.

    Bad flags exit with 2, a run stopped by Ctrl-C with 130.
    """
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="permtrain",
            description="Train networks by moving their weights, never changing a value.",
            args=arguments,
        )
    except PermtrainError as error:
        interrupted = type(error).__name__ == "Interrupted"
        print(f"{'' if interrupted else 'error: '}{error}", file=sys.stderr)
        return 130 if interrupted else 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
