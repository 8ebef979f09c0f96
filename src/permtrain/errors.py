"""Errors that are the user's to mend: one line that names the thing, its value and what is allowed.

The command line prints them without a traceback. Each is also the built-in error it is closest to,
so that library users can catch either.
"""

import re

_COLORS = re.compile(r"\x1b\[[0-9;]*m")
"""What turns a terminal's colors on and off."""


def one_line(error: BaseException) -> str:
    """What an error says, on one line and without the file's name, which stands before it.

    Example:
        >>> one_line(FileNotFoundError(2, "No such file or directory", "a.csv"))
        'no such file'
        >>> one_line(PermissionError(13, "Permission denied", "a.csv"))
        'Permission denied'
        >>> one_line(ValueError("a\\n\\x1b[1mb\\x1b[0m"))
        'a b'
    """
    if isinstance(error, FileNotFoundError):
        return "no such file"
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(_COLORS.sub("", said).split())[:200]


class PermtrainError(Exception):
    """Base of every error that a user's input can cause."""


class SettingError(PermtrainError, ValueError):
    """A setting has a value outside its allowed range, or a name that does not exist."""


class KindError(PermtrainError, TypeError):
    """Something is of another kind than is asked for: no model, no tensor, one without numbers."""


class GranularityError(PermtrainError, ValueError):
    """A tensor cannot be permuted at the granularity asked for."""


class NoVectorsError(GranularityError):
    """No granularity that was named cuts a tensor into vectors; another one may."""


class LeftAloneWarning(UserWarning):
    """Weights that a rule for all of them meant have no weight vectors, and are left alone."""


class NonFiniteError(PermtrainError, ValueError):
    """NaN or infinity was about to enter a ranking."""


class ProfileError(PermtrainError, ValueError):
    """Weights and profile do not belong together."""


class ChangedWeightsError(PermtrainError, RuntimeError):
    """Weights were changed behind the optimizer's back."""


class DataError(PermtrainError, ValueError):
    """A data set is missing, empty, damaged or of the wrong shape."""


class CheckpointError(PermtrainError, RuntimeError):
    """A checkpoint is missing, damaged, or belongs to another model or other settings."""


class PackedFileError(PermtrainError, ValueError):
    """A packed model file is damaged or of another format, or weights cannot be packed."""


class CircuitError(PermtrainError, ValueError):
    """An exported circuit is damaged, or does not give what the trained layers give."""


class ResultsError(PermtrainError, ValueError):
    """A recipe's table of results is damaged, or another table."""


class PictureError(PermtrainError, ValueError):
    """What was given cannot be drawn: no weights, NaN, or a record that is not there."""
