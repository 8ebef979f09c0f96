"""What a run was computed from: its data, and its network's own code.

A network of the user's own is code. A run's folder may come from anybody, so commands that only
look at runs build such a network only if its training was begun by the same user on the same
machine, or if they are told to. How that is known: where training begins, the run gets a mark, an
HMAC of the network's name and of the folder that it was imported from, under a secret key that is
kept in the user's home (`key_file`). Nobody else can make a mark, and a copied one fits nothing but
the network and the folder that it was made for.
"""

import hashlib
import hmac
import os
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from permtrain.errors import CheckpointError, SettingError
from permtrain.lab.models.registry import is_own_code
from permtrain.lab.training.json_files import read_json

_KEY_BYTES = 32


@dataclass(frozen=True)
class NetworkOrigin:
    """Where a network of the user's own came from.

    Attributes:
        model: its `module:function`.
        folder: what its module was imported from.
        digest: of the files that define its function and the classes of its modules.
        mark: what shows that the training was begun here; None where no key can be kept.
    """

    model: str
    folder: str
    digest: str
    mark: str | None

    @property
    def is_of_this_user(self) -> bool:
        """Whether training was begun by this user, with this home."""
        mark = _mark(self.model, self.folder)
        stored = str(self.mark).encode(errors="surrogatepass")
        return mark is not None and hmac.compare_digest(mark.encode(), stored)


@dataclass(frozen=True)
class Origin:
    """What a run was computed from.

    Attributes:
        network: None for a network of `permtrain list`.
    """

    network: NetworkOrigin | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> "Origin":
        """Read the record of a run.

        Raises:
            CheckpointError: it is damaged.
        """
        plain = read_json(path)
        try:
            return cls(
                **{name: kind(**plain[name]) for name, kind in _PARTS.items() if plain.get(name)}
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: not the origin of a run ({error})") from None


_PARTS = {"network": NetworkOrigin}


def network_origin(
    model: str, network: nn.Module, import_from: Sequence[Path] = ()
) -> NetworkOrigin | None:
    """The origin of a network that was just built; None for one of `permtrain list`.

    Args:
        model: its name.
        import_from: as in `build_network`.
    """
    if not is_own_code(model):
        return None
    package = model.partition(":")[0].partition(".")[0]
    folders = [folder.resolve() for folder in (*import_from, Path.cwd())]
    held = (each for each in folders if any(each.glob(f"{package}*")))
    where = str(next(held, folders[-1]))
    return NetworkOrigin(
        model, where, source_digest(model, network), _mark(model, where, make=True)
    )


def import_folders(model: str, origin: Origin | None, trust: bool, where: Path) -> list[Path]:
    """The folders that a run's network is to be imported from; none for one of `permtrain list`.

    A network that was trained here is imported from where it was then.

    Args:
        model: the network that the run's settings name.
        origin: of the run; None for a run of before there was a record.
        trust: whether the user said that its code may run. It is then looked for in the current
            directory too.
        where: the run's folder, for errors.

    Raises:
        SettingError: it is code that was not trained here, and the user did not say so.
    """
    if not is_own_code(model):
        return []
    known = origin.network if origin is not None else None
    is_ours = known is not None and known.model == model and known.is_of_this_user
    if not is_ours and not trust:
        raise SettingError(
            f"{where}: its model is {model!r}, code that was not trained here by you, and building "
            "it would run it; allowed: networks of permtrain list, or any with --trust-model"
        )
    remembered = [Path(known.folder)] if known is not None and is_ours else []
    return [*remembered, Path.cwd()] if trust else remembered


def source_digest(model: str, network: nn.Module) -> str:
    """A digest of the files that define a network's function and the classes of its modules.

    Those of torch and of this package do not count. What these files import is not followed.
    """
    names = {model.partition(":")[0]}
    names |= {cls.__module__ for module in network.modules() for cls in type(module).__mro__}
    digest = hashlib.sha256()
    for name in sorted(names):
        file = getattr(sys.modules.get(name), "__file__", None)
        if name.partition(".")[0] in ("torch", "permtrain") or file is None:
            continue
        digest.update(f"{name} ".encode() + hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.hexdigest()


def key_file() -> Path | None:
    """The file of the user's key: in `$XDG_STATE_HOME/permtrain`, else `~/.local/state/permtrain`.

    None for a user without a home.
    """
    if folder := os.environ.get("XDG_STATE_HOME"):
        return Path(folder).expanduser() / "permtrain" / "key"
    try:
        return Path("~/.local/state/permtrain/key").expanduser()
    except RuntimeError:
        return None


def _mark(model: str, folder: str, make: bool = False) -> str | None:
    key = _key(make)
    text = f"{model}\0{folder}".encode(errors="surrogatepass")
    return None if key is None else hmac.new(key, text, hashlib.sha256).hexdigest()


def _key(make: bool) -> bytes | None:
    """The user's key; None where there is none, or none can be kept."""
    file = key_file()
    if file is None:
        return None
    try:
        if make and not file.exists():
            _make_key(file)
        key = file.read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _make_key(file: Path) -> None:
    """Write a new key that nobody else may read; if another process is first, its key stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=file.parent)  # readable by its owner alone
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secrets.token_bytes(_KEY_BYTES))
        os.link(beside, file)
    except FileExistsError:
        pass
    finally:
        os.unlink(beside)
