"""What `permtrain report` and `permtrain plot` need beside the plain installation."""

from importlib.util import find_spec

_PACKAGES = {"report": ("jinja2", "plotly"), "plots": ("matplotlib",)}


def installing(extra: str) -> str | None:
    """What installs an extra; None where its packages are here."""
    if all(find_spec(package) is not None for package in _PACKAGES[extra]):
        return None
    return f"pip install 'permtrain[{extra}]'"


def with_extra(command: str, extra: str) -> str:
    """A command as a user can run it now: after what it needs is installed, where it is not.

    Example:
        >>> with_extra("permtrain report runs/a", "report").endswith("permtrain report runs/a")
        True
    """
    first = installing(extra)
    return command if first is None else f"{first} && {command}"
