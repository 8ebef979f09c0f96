"""What a run was computed from: its data, and its network's own code.

Data are told by a digest that does not depend on the order of the images: of all pixels and labels
where images are in memory; of the files' names, sizes and some of their contents where they are
streamed (`lab/data/sampled.py`), and of what the hub tells where it streams them.

Code is told by a digest of the module that has the network's function, of what that imports from
beside it or from its own package, and of the modules that define its classes. Other installed
packages, torch and this one are told by their versions (`environment.json`).

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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.machinery import PathFinder
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from torch import nn

from permtrain.errors import CheckpointError, SettingError
from permtrain.files import from_home, resolved
from permtrain.lab.data.images import ImageData, Split
from permtrain.lab.data.outline import OutlinedData, outlined
from permtrain.lab.data.registry import DATASETS, TEXTS
from permtrain.lab.data.stream import StreamedData, StreamedSplit
from permtrain.lab.data.text import TextData, TextSplit
from permtrain.lab.models.registry import is_own_code
from permtrain.lab.training.json_files import read_json
from permtrain.lab.training.settings import Settings
from permtrain.text import composed

_KEY_BYTES = 32
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class DataOrigin:
    """Which images a run was trained and tested on, all that there were.

    Attributes:
        digest: of them.
        num_images: of training and of test images.
        image_shape: channels, height, width.
        class_names: one for each label.
        location: the folder of data of the user's own; None for a registered name.
    """

    digest: str
    num_images: tuple[int, int]
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    location: str | None

    def __post_init__(self) -> None:
        for name, length in (("num_images", 2), ("image_shape", 3)):
            values = tuple(getattr(self, name))
            if len(values) != length or not all(type(each) is int and each > 0 for each in values):
                raise ValueError(f"{name} is {values}; allowed: {length} numbers from 1 on")
            object.__setattr__(self, name, values)
        if not all(isinstance(name, str) for name in self.class_names):
            raise ValueError("class_names holds no names")
        object.__setattr__(self, "class_names", tuple(self.class_names))

    def changes(self, now: "DataOrigin") -> list[str]:
        """How the images are others now, in words."""
        if self.digest == now.digest:
            return []
        if _scheme(self.digest) != _scheme(now.digest) and self.num_images == now.num_images:
            return []  # of streamed images older records know the names alone
        was, found = (
            "{:,} training and {:,} test images".format(*each.num_images) for each in (self, now)
        )
        others = "other ones" if was == found else was
        return [f"the images are not those of the run: now {found}, then {others}"]


@dataclass(frozen=True)
class NetworkOrigin:
    """Where a network of the user's own came from.

    Attributes:
        model: its `module:function`.
        folder: what its module was imported from.
        digest: of the files that define its function and the classes of its modules, and of what
            they import from beside them.
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
        data: None where it was not looked at.
    """

    network: NetworkOrigin | None = None
    data: DataOrigin | None = None

    def changes(self, now: "Origin") -> list[str]:
        """What is different now, in words; what either does not know is left out."""
        said = []
        if (
            self.network is not None
            and now.network is not None
            and _scheme(self.network.digest) == _scheme(now.network.digest)
            and self.network.digest != now.network.digest
        ):
            said.append(f"the code of {self.network.model} is not that of the run")
        if self.data is not None and now.data is not None:
            said += self.data.changes(now.data)
        if (classes := self.other_classes(now)) is not None:
            said.append(classes)
        return said

    @property
    def location(self) -> str | None:
        """Where data of the user's own were."""
        return None if self.data is None else self.data.location

    def other_classes(self, now: "Origin") -> str | None:
        """In words, how labels mean something else now; None if they do not."""
        if self.data is None or now.data is None:
            return None
        was, found = (list(map(composed, each.class_names)) for each in (self.data, now.data))
        if was == found:
            return None
        return (
            f"the classes are not those of the run: now {_listed(now.data.class_names)}, "
            f"then {_listed(self.data.class_names)}"
        )

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
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: not the origin of a run ({error})") from None


_PARTS: dict[str, Any] = {"network": NetworkOrigin, "data": DataOrigin}


def data_origin(name: str, data: ImageData | StreamedData | TextData) -> DataOrigin:
    """The origin of data that were just loaded, whole.

    Args:
        name: as the settings have it.
    """
    splits = [data.train, data.test]
    train, test = (len(each) for each in splits)
    return DataOrigin(
        digest=" ".join(map(_digest_of, splits)),
        num_images=(train, test),
        image_shape=data.image_shape,
        class_names=data.class_names,
        location=None if name in (*DATASETS, *TEXTS) else str(resolved(from_home(name))),
    )


def outline_of(settings: Settings, origin: Origin | None) -> OutlinedData | None:
    """The sizes of a run's data, recorded or of its registered name; None if neither is known."""
    name, size = settings.data.data, settings.data.image_size
    if origin is not None and (data := origin.data) is not None:
        return outlined(name, data.image_shape, data.num_images, data.class_names)
    if (known := DATASETS.get(name)) is None:
        return None
    shape = known.image_shape if size is None else (3, size, size)
    names = tuple(map(str, range(known.num_classes)))
    return outlined(name, shape, known.num_images, names)


def _digest_of(split: Split | StreamedSplit | TextSplit) -> str:
    if isinstance(split, TextSplit):
        return blake2b(split.codes.numpy().tobytes(), digest_size=_DIGEST_BYTES).hexdigest()
    if isinstance(split, Split):
        return _digest_of_images(split)
    return f"sampled:{_sum_of(_digests_of(split))}"


def _digest_of_images(split: Split) -> str:
    pixels_NP = split.images.flatten(1).numpy()
    return _sum_of(
        blake2b(pixels_P, digest_size=_DIGEST_BYTES, person=label.to_bytes(16, "little")).digest()
        for pixels_P, label in zip(pixels_NP, split.labels.tolist(), strict=True)
    )


def _digests_of(split: StreamedSplit) -> Iterator[bytes]:
    for fact in split.encoded.facts():
        text = fact.encode(errors="surrogatepass")
        yield blake2b(text, digest_size=_DIGEST_BYTES).digest()


def _sum_of(digests: Iterable[bytes]) -> str:
    """One digest of many, whatever their order."""
    total = sum(int.from_bytes(each, "little") for each in digests)
    return (total % (1 << 8 * _DIGEST_BYTES)).to_bytes(_DIGEST_BYTES, "little").hex()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, ... ({len(names)})"


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
    folders = [resolved(folder) for folder in (*import_from, Path.cwd())]
    held = (each for each in folders if any(each.glob(f"{package}*")))
    where = str(next(held, folders[-1]))
    return NetworkOrigin(
        model, where, source_digest(model, network, where), _mark(model, where, make=True)
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


def source_digest(model: str, network: nn.Module, folder: str) -> str:
    """A digest of the files that define a network's function and the classes of its modules.

    What the function's module imports is followed as far as it lies in the folder that it was
    imported from, of an installed package in that package. Nothing is imported for it.

    Args:
        model: its `module:function`.
        folder: where its module was looked for.
    """
    module = model.partition(":")[0]
    files = _followed(module, Path(folder))
    names = {cls.__module__ for part in network.modules() for cls in type(part).__mro__}
    for name in names if files else {module, *names}:
        file = getattr(sys.modules.get(name), "__file__", None)
        is_known = name.partition(".")[0] in (*_KNOWN, *sys.stdlib_module_names)
        if not is_known and file is not None and Path(file).is_file():
            files.setdefault(_name_of(Path(file), Path(folder), name), Path(file))
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"imports:{digest.hexdigest()}"


_KNOWN = ("torch", "numpy", "permtrain")
_INSTALLED = {"site-packages", "dist-packages"}


class _Follower(ModuleFinder):
    """Follows imports that lie in a folder; in one of installed packages those of one package."""

    def __init__(self, folder: Path, package: str) -> None:
        super().__init__([str(folder)])
        self._only = package if _INSTALLED & set(folder.parts) else None

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        if path is None and (
            name in _KNOWN
            or self._only not in (None, name)
            or PathFinder.find_spec(name, self.path) is None
        ):
            raise ImportError(name)
        return super().find_module(name, path, parent)


def _followed(module: str, folder: Path) -> dict[str, Path]:
    """The files of a module and of what it imports, as far as they lie in its folder, by name."""
    package = module.partition(".")[0]
    if PathFinder.find_spec(package, [str(folder)]) is None:  # it is installed
        file = getattr(sys.modules.get(package), "__file__", None)
        if file is None or package in (*_KNOWN, *sys.stdlib_module_names):
            return {}
        folder = Path(file).parents[1 if Path(file).stem == "__init__" else 0]
    follower = _Follower(folder, package)
    with suppress(ImportError, SyntaxError):
        follower.import_hook(module)
    found = (getattr(each, "__file__", None) for each in follower.modules.values())
    return {_name_of(Path(file), folder, file): Path(file) for file in found if file}


def _name_of(file: Path, folder: Path, other: str) -> str:
    """A file's name in its folder, else another that holds wherever that is."""
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else other


def _scheme(digest: str) -> str:
    """How a digest was made; older ones do not say."""
    return digest.partition(":")[0] if ":" in digest else ""


def key_file() -> Path | None:
    """The file of the user's key: in `$XDG_STATE_HOME/permtrain`, else `~/.local/state/permtrain`.

    None for a user without a home.
    """
    if folder := os.environ.get("XDG_STATE_HOME"):
        return from_home(folder) / "permtrain" / "key"
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
