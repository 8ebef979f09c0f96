"""The command line: a table from name to function.

Commands import what they need when they run, so that `--help` answers before torch is loaded.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, wraps
from inspect import signature
from typing import Any

import tyro

from permtrain import __version__
from permtrain.errors import PermtrainError
from permtrain.lab.cli import common_options, help_texts, paths, refusals
from permtrain.lab.cli.circuit import check_circuit, export_circuit
from permtrain.lab.cli.console import say
from permtrain.lab.cli.evaluate import evaluate
from permtrain.lab.cli.fetch import fetch
from permtrain.lab.cli.list import show_catalogue
from permtrain.lab.cli.pack import inspect, pack, unpack
from permtrain.lab.cli.plot import plot
from permtrain.lab.cli.predict import predict
from permtrain.lab.cli.process import settle
from permtrain.lab.cli.recipes import gather, recipes, run
from permtrain.lab.cli.report import report
from permtrain.lab.cli.sample import sample
from permtrain.lab.cli.train import resume, train
from permtrain.lab.cli.verify import verify
from permtrain.lab.training.settings import Place, PlaceOfFlags
from permtrain.lab.training.stopping import Interrupted

COMMANDS: dict[str, Callable[..., Any]] = {
    "train": train,
    "resume": resume,
    "evaluate": evaluate,
    "verify": verify,
    "predict": predict,
    "sample": sample,
    "pack": pack,
    "unpack": unpack,
    "inspect": inspect,
    "export-circuit": export_circuit,
    "check-circuit": check_circuit,
    "plot": plot,
    "list": show_catalogue,
    "recipes": recipes,
    "run": run,
    "gather": gather,
    "fetch": fetch,
    "report": report,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a user's mistake is one line on standard error, and exit code 1.

    Bad flags exit with 2, a run stopped by Ctrl-C or SIGTERM with 130.

    Args:
        arguments: of a caller in this process, which stays as it is; None for those of a process
            that is this command.
    """
    if arguments is None:
        settle()
    try:
        _parsed(arguments)()
        sys.stdout.flush()
    except PermtrainError as error:
        interrupted = isinstance(error, Interrupted)
        say(f"{'' if interrupted else 'error: '}{error}", sys.stderr)
        return 130 if interrupted else 1
    except BrokenPipeError:  # whoever reads has seen enough, as in: permtrain list | head
        if arguments is None:  # else the stream is the caller's
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        say(f"error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _parsed(arguments: list[str] | None) -> Callable[[], Any]:
    """The command with its arguments, still to be called.

    Raises:
        PermtrainError: what the settings themselves refused; tyro would draw a box around it.
        SystemExit: after help (0) or bad flags (2).
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--version"]:
        return partial(print, f"permtrain {__version__}")
    shown: AbstractContextManager[None] = nullcontext()
    if "--help-all" in given:
        given = [*given[:1], "--help"]
    elif given[:1] == ["train"] and {"-h", "--help"} & set(given):
        given, shown = ["train", "--help"], common_options.registry
    try:
        with shown:
            command: Callable[[], Any] = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in COMMANDS.items()},
                prog="permtrain",
                description=(
                    "Train networks by moving their weights, never changing a value. "
                    "--version tells which permtrain this is."
                ),
                args=given,
                registry=paths.registry,
            )
    except refusals.Refused as refused:
        raise refused.error from None
    return _with_flags(command, given)


def _with_flags(command: Callable[[], Any], given: Sequence[str]) -> Callable[[], Any]:
    """The call, whose place knows which of its values were given: they hold against a run's own."""
    if not isinstance(command, partial) or not isinstance(command.keywords.get("place"), Place):
        return command
    place = command.keywords["place"]
    names = {word[2:].partition("=")[0].replace("-", "_") for word in given if word[:2] == "--"}
    flags = frozenset(names | {name.removeprefix("no_") for name in names})
    here = PlaceOfFlags(**vars(place), flags=flags)
    call: Any = command
    return partial(call, place=here)


def _deferred(command: Callable[..., Any]) -> Callable[..., Callable[[], Any]]:
    """The same command line; the answer is the call that remains to be made."""

    @wraps(command)
    def with_arguments(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return partial(command, *args, **kwargs)

    named: Any = with_arguments
    named.__signature__ = signature(command)
    del named.__wrapped__  # whose docstring tyro would read
    named.__doc__ = help_texts.with_joined_arguments(command.__doc__ or "")
    return with_arguments


if __name__ == "__main__":
    sys.exit(main())
