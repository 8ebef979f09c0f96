"""The settings of a run: each declared once, with its type, default, meaning and allowed range.

Command-line flags, the run folder's `settings.json` and its name follow from here. Nothing heavy is
imported, so that `--help` answers at once.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Interval

from permtrain.core.cut import (
    GRANULARITIES,
    AnyGranularity,
    Granularity,
    LinearGranularity,
)
from permtrain.errors import SettingError
from permtrain.initial.rules import RULES
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.normalize_settings import Normalization
from permtrain.lab.data.sources import Columns
from permtrain.optim.sgperm_settings import MoveSettings
from permtrain.ranges import (
    Ascending,
    Count,
    Fraction,
    NotNegative,
    OneOf,
    Positive,
    Seed,
    Share,
    check_fields,
    require,
)

MethodName: TypeAlias = Literal[
    "laperm", "index", "sgperm", "plain", "plain-frozen-zeros", "supermask"
]
METHODS: dict[MethodName, str] = {
    "laperm": "LaPerm: weights move freely, every sync period their order lays out initial values",
    "index": "index optimizer: latent weights are kept, their order lays out the initial values",
    "sgperm": "SGPerm: gradients recommend moves, weights change places along cycles of them",
    "plain": "the inner optimizer alone",
    "plain-frozen-zeros": "the inner optimizer alone, weights that begin as zero stay zero",
    "supermask": "edge-popup: weights stay, the optimizer moves scores of which are used",
}

DRAWN_RULES = tuple(rule for rule in RULES if rule not in ("constant", "shuffle"))
"""Those whose weights follow from the seed alone."""

_MOST_THREADS = 1024
"""Where a system cannot start them, torch's own library breaks the whole process off."""


@dataclass(frozen=True)
class DataSettings:
    """What is learnt."""

    data: str = "digits"
    """A data set or text by name (`permtrain list`), a text file, or a
    folder: train.parquet and test.parquet, or train/ and test/ with image
    folders named by class. A folder with train/ and val/, or with the hub's
    train-*.parquet and validation-*.parquet, is streamed, not kept in memory."""
    validation_fraction: Fraction = 0.0
    """Part of the training images set aside for choosing anything, in [0, 1)."""
    train_images: Count | None = None
    """Use the first so many training images only; at least 1."""
    test_images: Count | None = None
    """Evaluate on the first so many test images only; at least 1."""
    image_size: Count | None = None
    """Side in pixels of the RGB squares that images of any size are cut to: the middle of each; in
    training on a streamed data set, as imagenet, a random part. Left out: 224 of streamed images;
    those in memory stay whole, and have to be of one size."""
    context: Count | None = None
    """Characters of a text that a network sees at once. Left out: 64."""
    image_column: str | None = None
    """The column of images in Parquet files that have several, or one of bytes alone."""
    label_column: str | None = None
    """The column of labels in Parquet files where it is not called label: integers from 0, or
    text, whose different values are the classes."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def columns(self) -> Columns:
        return Columns(self.image_column, self.label_column)


@dataclass(frozen=True)
class InitialSettings:
    """How the weights are born."""

    rule: Annotated[str, OneOf(tuple(RULES))] = "kaiming_uniform"
    """The distribution, by torch.nn.init's names; or constant, or shuffle (`permtrain list`)."""
    value: float | None = None
    """The one shared value of rule constant."""
    trained_rule: Annotated[str, OneOf(DRAWN_RULES)] = "kaiming_normal"
    """Rule shuffle moves trained weights within each vector. They are those of a run of its own,
    made first: by the inner optimizer alone, from weights of this rule ..."""
    trained_epochs: Count | None = None
    """... for so many epochs; left out, for as many as this run."""
    vectors: Granularity = "neuron"
    """What a weight vector is for the options below; usually the granularity of the run."""
    share: bool = False
    """All weight vectors of a layer hold the same values."""
    quantiles: bool = False
    """Exact quantiles of the distribution in place of random draws."""
    pairwise: bool = False
    """Values come in pairs +v and -v."""
    levels: Annotated[int, Interval(ge=2)] | None = None
    """Only so many different values, equally frequent; 2 or more."""
    sparsity: Fraction = 0.0
    """Fraction of each layer's weights that is zero, in [0, 1)."""
    layer_sparsity: dict[str, Fraction] = field(default_factory=dict)
    """Sparsity layer by layer, in place of the above: weight name patterns and fractions, as in:
    0.weight 0.9 output.* 0.5. What no pattern matches stays dense."""
    sparsity_by: Literal["exact", "bernoulli", "magnitude"] = "exact"
    """Which weights are zero: an exact number at random places, each by chance, the smallest."""
    first_layer_sparsity_cap: float | None = None
    """At most this sparsity in the first layer (with bernoulli, the chance of it)."""
    sparse_fans: bool = False
    """Fans count only the part of the weights that is not zero at first: larger weights."""
    biases: Literal["rule", "zero", "keep"] = "rule"
    """Biases by the rule with their own length as fan-in, as zeros, or as torch draws them. In
    vit-tiny and gpt-char they are zeros with rule too."""
    branches: dict[str, Count] = field(default_factory=dict)
    """Layers whose outputs are added up: weight name patterns, and how many such layers there are,
    as in: *.proj.weight 6. Their weights are divided by the root of that. Left out, in vit-tiny and
    gpt-char those that their blocks add, twice as many as blocks; '*' 1 leaves them as drawn."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.rule != "shuffle":
            nothing = f"nothing with rule {self.rule}"
            is_default = self.trained_rule == "kaiming_normal"
            require("trained_rule", self.trained_rule, is_default, nothing)
            require("trained_epochs", self.trained_epochs, self.trained_epochs is None, nothing)
        one = not (self.sparsity and self.layer_sparsity)
        require("sparsity", self.sparsity, one, "0, where layer_sparsity is given")

    @property
    def is_sparse(self) -> bool:
        return bool(self.sparsity or self.layer_sparsity)


@dataclass(frozen=True)
class PermutationSettings:
    """How the weights are permuted."""

    method: MethodName = "laperm"
    """laperm, index, sgperm, plain (the inner optimizer alone), plain-frozen-zeros, supermask."""
    sync_period: Count | None = None
    """Steps between synchronisations, from 1. Left out: 20 for laperm, 1 for index."""
    sync_milestones: Annotated[tuple[int, ...], Ascending("epochs or steps")] = ()
    """Epochs after which the sync period changes ..."""
    sync_periods: tuple[Count, ...] = ()
    """... to these, one for each milestone."""
    sync_milestones_in: Literal["epochs", "steps"] = "epochs"
    """What the milestones count: epochs, or optimizer steps."""
    permuted_steps: Count | None = None
    """Permute for so many first steps only; then the inner optimizer goes on, its state carried
    over, and weights that are zero by then stay zero."""
    granularity: AnyGranularity | None = None
    """Which weights may exchange values; across: of all layers, each in units of a power of two
    near its He standard deviation. Left out: neuron for laperm and sgperm, layer for index."""
    fallback: LinearGranularity | None = None
    """Granularity of the layers that have none of the above, as linear layers have no kernels."""
    linear_granularity: LinearGranularity | None = None
    """Granularity of the linear layers, where it is another than that of the convolutions."""
    permute_biases: bool = False
    """Each layer's bias is a weight vector too; else the inner optimizer trains biases."""
    keep: Share = 0.5
    """Part of each layer's weights that a supermask uses, above 0, at most 1."""

    def __post_init__(self) -> None:
        check_fields(self)
        self._refuse_with_method()
        num = len(self.sync_milestones)
        of_each = len(self.sync_periods) == num
        require("sync_periods", self.sync_periods, of_each, f"one for each of the {num} milestones")
        linear = self.linear_granularity
        if linear is not None:
            is_within = self.granularity not in (None, "across") and self.fallback is None
            allowed = "nothing without granularity kernel, neuron or layer, nor with fallback"
            require("linear_granularity", linear, is_within, allowed)
            apart = not self.permute_biases
            require("linear_granularity", linear, apart, "nothing with permute_biases")
        if self.method == "sgperm":
            within = self.granularity != "across"
            allowed = f"{', '.join(GRANULARITIES)} with method sgperm"
            require("granularity", self.granularity, within, allowed)

    def _refuse_with_method(self) -> None:
        """Refuse what means nothing with this method."""
        foreign = [] if self.method == "supermask" else ["keep"]
        if not self.permutes:
            foreign += ["granularity", "fallback", "linear_granularity", "permute_biases"]
        if self.method not in ("laperm", "index"):
            foreign += ["sync_period", "sync_milestones", "permuted_steps"]
        for name in foreign:
            value, default = getattr(self, name), getattr(PermutationSettings, name)
            require(name, value, value == default, f"nothing with method {self.method}")

    @property
    def permutes(self) -> bool:
        return self.method in ("laperm", "index", "sgperm")


@dataclass(frozen=True)
class SGPermSettings(MoveSettings):
    """What method sgperm does at each step; other methods leave it alone.

    The defaults are what docs/sgperm.md says why. The inner optimizer and its learning rate are for
    what is not permuted, and for recommendation difference.
    """

    permuted_biases: Literal["apart", "row"] = "apart"
    """Where biases are permuted: each layer's bias is a vector of its own (apart), or each bias is
    one more weight of its neuron's vector (row)."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class OptimizerSettings:
    """The inner optimizer and its learning rate."""

    inner: str = "Adam"
    """Any class of torch.optim, by name."""
    lr: Positive = 1e-3
    """Initial learning rate, above 0."""
    lookahead_period: Count | None = None
    """Lookahead around the inner optimizer, a baseline: every so many steps slow weights go ..."""
    lookahead_step: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    """... this part of the way to the weights, above 0, below 1, and the weights go there."""
    inner_options: dict[str, float] = field(default_factory=dict)
    """Further arguments of that class, as in: momentum 0.9."""
    betas: tuple[Fraction, ...] = ()
    """The two betas of Adam and its like, as in: 0.9 0.95. Left out: the class's own."""
    clip_gradient: Positive | None = None
    """Scale the gradient of all parameters down to this norm where it is larger."""
    l2: NotNegative = 0.0
    """Penalty l2 * w^2 on all weights but biases, norms and the output layer, as Keras' l2: adds
    2 * l2 * w to the gradient."""
    lr_decay: Share = 1.0
    """The learning rate is multiplied by this ..."""
    lr_decay_epochs: Count = 1
    """... every so many epochs."""
    lr_milestones: Annotated[tuple[int, ...], Ascending("epochs")] = ()
    """Epochs after which the learning rate is also multiplied ..."""
    lr_factors: tuple[Positive, ...] = ()
    """... by these, one for each milestone."""
    lr_cosine: bool = False
    """The learning rate also falls to 0 along half a cosine wave, step by step over the run."""
    lr_warmup: Annotated[int, Interval(ge=0)] = 0
    """The learning rate also rises over so many first steps, in equal parts."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.lookahead_period is None:
            is_default = self.lookahead_step == 0.5
            require(
                "lookahead_step", self.lookahead_step, is_default, "0.5 without lookahead_period"
            )
        require("betas", self.betas, len(self.betas) in (0, 2), "two numbers")
        num = len(self.lr_milestones)
        of_each = len(self.lr_factors) == num
        require("lr_factors", self.lr_factors, of_each, f"one for each of the {num} milestones")


@dataclass(frozen=True)
class Settings:
    """All that decides what a run computes. Where it runs is in `Place`."""

    data: DataSettings = DataSettings()
    augmentation: Augmentation = field(default_factory=Augmentation)
    normalization: Normalization = "z-score"
    """z-score: each channel less its mean, divided by its standard deviation. mean-image: each
    pixel less its own mean; not for streamed images. unit: pixels from 0 to 1 as they are (x/255),
    on which the MNIST nets of Train by Reconnect's authors were trained. Means are those of the
    training images; they are taken off before images are augmented."""
    model: str = "digits-cnn"
    """A network by name (`permtrain list`), or module:function of your own."""
    initial: InitialSettings = field(default_factory=InitialSettings)
    permutation: PermutationSettings = PermutationSettings()
    sgperm: SGPermSettings = SGPermSettings()
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    epochs: Count = 60
    """Passes over the training images."""
    patience: Count | None = None
    """Stop where validation accuracy was not better than before for so many epochs; needs a
    validation_fraction. The best epoch's weights are in checkpoints/best.pt."""
    batch_size: Count = 32
    """Images in one optimizer step."""
    seed: Seed = 0
    """Of the initial weights, the batch order, the augmentation, dropout and the validation set."""
    autocast: Literal["off", "bfloat16"] = "off"
    """bfloat16 in the forward pass; weights stay float32."""
    reestimate_batch_norm: bool = False
    """Before each evaluation, batch norm statistics are measured anew, on training images, for the
    arranged weights, on a copy."""
    evaluate_at: Annotated[tuple[int, ...], Ascending("steps")] = ()
    """Evaluate after these optimizer steps too, as in: 25 100 400."""
    watched_steps: Annotated[int, Interval(ge=0)] = 0
    """For so many first steps, record which part of the weights changed, and by how much."""
    watch_ranking_distance: bool = False
    """Record the ranking distance of every step in the first weight matrix, for permtrain plot; it
    costs a sort of that matrix a step."""
    watch_every_layer: bool = False
    """Record it in all layers."""

    def __post_init__(self) -> None:
        check_fields(self)
        judged = self.patience is None or self.data.validation_fraction > 0
        require("patience", self.patience, judged, "nothing without validation_fraction")
        without = self.watch_every_layer and not self.watch_ranking_distance
        require("watch_every_layer", True, not without, "False without watch_ranking_distance")
        method = self.permutation.method
        if method != "sgperm" and self.sgperm != SGPermSettings():
            default = SGPermSettings()
            names = [
                name for name, value in vars(self.sgperm).items() if value != getattr(default, name)
            ]
            raise SettingError(
                f"{', '.join(names)} is set, and method is {method!r}; allowed with settings of "
                "SGPerm: sgperm (of the inner optimizer: --inner-options)"
            )
        if method == "supermask" and self.initial.is_sparse:
            sparsity = self.initial.layer_sparsity or self.initial.sparsity
            raise SettingError(
                f"sparsity is {sparsity}; allowed with method supermask, which makes constants of "
                "all weights, zeros too, and may use each of them: 0 (keep says how many it uses)"
            )
        if self.sgperm.permuted_biases == "row" and not self.permutation.permute_biases:
            raise SettingError("permuted_biases is 'row'; allowed without permute_biases: apart")
        # Slow weights would not hold what a permuter or a supermask holds.
        period = self.optimizer.lookahead_period
        alone = method in ("plain", "plain-frozen-zeros")
        require(
            "lookahead_period", period, period is None or alone, f"nothing with method {method}"
        )
        if method == "sgperm" and self.optimizer.l2:
            raise SettingError(f"l2 is {self.optimizer.l2}; allowed with method sgperm: 0")
        # Kept biases are not drawn by us, so that nobody could tell their initial values later.
        keeps = self.initial.biases == "keep" and self.permutation.permute_biases
        require("biases", self.initial.biases, not keeps, "rule or zero, with permute_biases")

    @cached_property
    def _hash(self) -> str:
        text = json.dumps(changed_from_default(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Place:
    """Where and with what a run is computed. Another device or number of threads rounds otherwise.

    A run's folder remembers it; `resume`, `evaluate` and `verify` take it from there where a flag
    is left out.
    """

    runs_folder: Path = Path("runs")
    """Run folders are made in here."""
    data_folder: Path | None = None
    """Local data sets: NAME/train.parquet and NAME/test.parquet. Else $PERMTRAIN_DATA, else the
    hub."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: Annotated[int, Interval(ge=1, le=_MOST_THREADS)] | None = None
    """Processor threads for torch; left out, 1 for a small network, else as many as torch likes.
    Other numbers of threads round otherwise: a resumed run takes that of its beginning."""
    memory_format: Literal["auto", "contiguous", "channels-last"] = "auto"
    """How images lie in memory. auto: channels last where a network of `permtrain list` has
    convolutions (1.1 to 1.3 times as fast on a CPU), else contiguous."""
    compile: bool = False
    """Run the network through torch.compile; the first steps take a minute longer."""
    checkpoint_steps: Count | None = None
    """A checkpoint every so many steps too, not only after each epoch."""
    keep_checkpoints: Count = 2
    """How many of the last checkpoints stay, beside the best; 1 or more."""
    tensorboard: bool = False
    """Also write TensorBoard's event files into the run's folder: the numbers of each epoch, and
    the figures at the end."""
    logger: str | None = None
    """Also give the numbers of each epoch to the service whose library is imported by this name, as
    wandb or trackio: its project permtrain, a run of the folder's name with these settings."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("runs_folder", "data_folder"):
            text = str(getattr(self, name))
            is_text = not any("\ud800" <= each <= "\udfff" for each in text)  # bytes that are none
            require(name, text, is_text, "a path in UTF-8, as libraries that read files ask for")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the folder of runs."""
        names = [each.name for each in dataclasses.fields(Place) if each.name != "runs_folder"]
        plain = {name: getattr(self, name) for name in names}
        folder = plain["data_folder"]
        return plain | {"data_folder": None if folder is None else str(folder)}

    def filled_from(self, remembered: dict[str, Any]) -> "Place":
        """This place, what was not asked for replaced by what a run's folder remembers.

        What is no longer a matter of the place is left out.

        Example:
            >>> Place(device="cpu").filled_from({"device": "cuda", "threads": 2}).threads
            2
        """
        names = {each.name for each in dataclasses.fields(Place)}
        filled: dict[str, Any] = {
            name: Path(value) if name == "data_folder" and value is not None else value
            for name, value in remembered.items()
            if name in names and not self.is_asked_for(name)
        }
        return dataclasses.replace(self, **filled)

    def is_asked_for(self, name: str) -> bool:
        """Whether a value holds against a remembered one: one that is not the default."""
        return bool(getattr(self, name) != getattr(Place, name))


@dataclass(frozen=True)
class PlaceOfFlags(Place):
    """A place from the command line, where a flag that was given holds, the default's value too.

    Example:
        >>> PlaceOfFlags(flags=frozenset({"compile"})).filled_from({"compile": True}).compile
        False
    """

    flags: frozenset[str] = frozenset()
    """Names of those that were given."""

    def is_asked_for(self, name: str) -> bool:
        return name in self.flags or super().is_asked_for(name)


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain data for JSON, nested as the dataclasses are; of settings of any kind."""
    plain: dict[str, Any] = _to_plain(settings)
    return plain


def _to_plain(value: Any) -> Any:
    # Not by dataclasses.asdict, which copies every value: recipes name thousands of arms.
    if dataclasses.is_dataclass(value):
        return {name: _to_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(name): _to_plain(each) for name, each in value.items()}
    return [_to_plain(each) for each in value] if isinstance(value, list | tuple) else value


def from_dict(plain: dict[str, Any]) -> Settings:
    """Settings from `to_dict`'s data; absent fields get their defaults, unknown ones are refused.

    Raises:
        SettingError: an unknown field, or a value out of range.

    Example:
        >>> from_dict(to_dict(Settings(epochs=3))).epochs
        3
    """
    settings: Settings = _build(Settings, plain, "settings")
    return settings


def stored_settings(plain: dict[str, Any]) -> Settings:
    """Settings from a run's files: `from_dict`, and SGPerm's only where it is the method.

    A run stores all settings in full, so that it keeps them where a default changes later. Those of
    a method that it does not use are defaults of its day, and mean nothing.

    Raises:
        SettingError: an unknown field, or a value out of range.

    Example:
        >>> plain = to_dict(Settings())
        >>> plain["sgperm"]["momentum"] = 0.123  # a default of old
        >>> stored_settings(plain) == Settings()
        True
    """
    permutation = plain.get("permutation") if isinstance(plain, dict) else None
    if isinstance(permutation, dict) and permutation.get("method") != "sgperm":
        plain = {name: value for name, value in plain.items() if name != "sgperm"}
    return from_dict(plain)


def _build(cls: type, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise SettingError(f"{where} is {plain!r}; allowed: an object with settings")
    fields = {each.name: each for each in dataclasses.fields(cls)}
    if unknown := sorted(set(plain) - set(fields)):
        raise SettingError(f"{where} has unknown {unknown[0]!r}; allowed: {', '.join(fields)}")
    values: dict[str, Any] = {}
    for name, value in plain.items():
        kind = fields[name].type
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            values[name] = _build(kind, value, f"{where}.{name}")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def changed_from_default(settings: Settings) -> dict[str, Any]:
    """The settings that differ from the defaults, as flat `group.name` keys.

    Example:
        >>> changed_from_default(Settings(epochs=3, data=DataSettings(data="mnist")))
        {'data.data': 'mnist', 'epochs': 3}
    """
    default = _flat_default(Settings)
    return {
        name: value
        for name, value in flat(to_dict(settings)).items()
        if name not in default or value != default[name]
    }


@cache
def _flat_default(of: type[Settings]) -> dict[str, Any]:
    return flat(to_dict(of()))


def flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested plain data as `group.name` keys; empty groups are left out.

    Example:
        >>> flat({"epochs": 3, "data": {"data": "mnist"}, "augmentation": {}})
        {'epochs': 3, 'data.data': 'mnist'}
    """
    found: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, dict) and value:
            found.update(flat(value, f"{prefix}{name}."))
        elif value != {}:
            found[f"{prefix}{name}"] = value
    return found


def first_training(settings: Settings) -> Settings | None:
    """The settings of the run whose weights rule shuffle takes; None with any other rule.

    Example:
        >>> shuffled = Settings(initial=InitialSettings(rule="shuffle"), seed=3)
        >>> plain = PermutationSettings(method="plain")
        >>> first_training(shuffled) == Settings(
        ...     initial=InitialSettings(rule="kaiming_normal"), permutation=plain, seed=3
        ... )
        True
    """
    initial = settings.initial
    if initial.rule != "shuffle":
        return None
    return dataclasses.replace(
        settings,
        initial=InitialSettings(rule=initial.trained_rule, biases=initial.biases),
        permutation=PermutationSettings(method="plain"),
        sgperm=SGPermSettings(),
        epochs=initial.trained_epochs or settings.epochs,
        patience=None,
        evaluate_at=(),
        watched_steps=0,
        watch_ranking_distance=False,
        watch_every_layer=False,
    )


def settings_hash(settings: Settings) -> str:
    """Eight hexadecimal digits that name the settings; a new option does not rename old runs.

    Defaults are left out before hashing.

    Example:
        >>> settings_hash(Settings()) == settings_hash(Settings(epochs=60))
        True
    """
    return settings._hash


def hash_of(settings: Any) -> str:
    """Eight hexadecimal digits that name the settings of a recipe's own task.

    Its own fields count, defaults included. Of settings nested in them only what differs from their
    defaults does: a new option of `Settings` or `DataSettings` does not rename a task's old runs.

    Args:
        settings: a frozen dataclass.

    Example:
        >>> @dataclass(frozen=True)
        ... class Width:
        ...     units: int = 8
        ...     training: Settings = Settings()
        >>> hash_of(Width()) == hash_of(Width(8, Settings(epochs=60)))
        True
        >>> hash_of(Width()) in (hash_of(Width(9)), hash_of(Width(8, Settings(epochs=6))))
        False
    """
    own = {
        each.name: _telling(getattr(settings, each.name)) for each in dataclasses.fields(settings)
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]


def _telling(value: Any) -> Any:
    """Plain data; of a dataclass, what differs from its defaults."""
    if isinstance(value, tuple):
        return [_telling(each) for each in value]
    if not dataclasses.is_dataclass(value):
        return value
    return {
        each.name: _telling(getattr(value, each.name))
        for each in dataclasses.fields(value)
        if getattr(value, each.name) != default_of(each)
    }


def default_of(of: "dataclasses.Field[Any]") -> Any:
    """The default of a dataclass's field; MISSING, which equals no value, where it has none."""
    made = of.default_factory
    return of.default if made is dataclasses.MISSING else made()


def run_name(settings: Settings) -> str:
    """The name of a run's folder: data, network, method and the settings' hash."""
    data = Path(settings.data.data).name
    model = settings.model.replace(":", ".")
    return f"{data}-{model}-{settings.permutation.method}-{settings_hash(settings)}"
