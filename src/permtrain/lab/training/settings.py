"""The settings of a run: each declared once, with its type, default, meaning and allowed range.

Command-line flags, the run folder's `settings.json` and its name follow from here. Nothing heavy is
imported, so that `--help` answers at once.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from permtrain.errors import SettingError
from permtrain.initial.rules import RULES
from permtrain.lab.data.augment_settings import Augmentation
from permtrain.lab.data.normalize_settings import NORMALIZATIONS, Normalization

METHODS: dict[str, str] = {
    "laperm": "LaPerm: weights move freely, every sync period their order lays out initial values",
    "index": "index optimizer: latent weights are kept, their order lays out the initial values",
    "sgperm": "SGPerm: gradients recommend moves, weights change places along cycles of them",
    "plain": "the inner optimizer alone",
    "plain-frozen-zeros": "the inner optimizer alone, weights that begin as zero stay zero",
    "supermask": "edge-popup: weights stay, the optimizer moves scores of which are used",
}

GRANULARITIES: dict[str, str] = {
    "kernel": "weights change places within one kernel of a convolution",
    "neuron": "within all weights into one output unit: a row of a matrix, a filter",
    "layer": "within a whole weight tensor",
    "across": "across all layers, each weight in units of its layer",
}


_MOST_THREADS = 1024
"""Where a system cannot start them, torch's own library breaks the whole process off."""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check(name: str, value: object, fine: bool, allowed: str) -> None:
    if not fine:
        raise SettingError(f"{name} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True)
class DataSettings:
    """What is learnt."""

    data: str = "digits"
    """A data set by name (`permtrain list`), or a folder with train.parquet and test.parquet, or
    with train/ and test/ folders of class-named image folders. A folder with train/ and val/, or
    with the hub's train-*.parquet and validation-*.parquet, is streamed, not kept in memory."""
    validation_fraction: float = 0.0
    """Part of the training images set aside for choosing anything, in [0, 1)."""
    train_images: int | None = None
    """Use the first so many training images only; at least 1."""
    test_images: int | None = None
    """Evaluate on the first so many test images only; at least 1."""
    image_size: int | None = None
    """Side in pixels of the squares that images of a streamed data set, as imagenet, are cut to: a
    random part in training, the middle in evaluation. Left out: 224."""

    def __post_init__(self) -> None:
        _check(
            "validation_fraction",
            self.validation_fraction,
            0 <= self.validation_fraction < 1,
            "0 to 1, without 1",
        )
        for name in ("train_images", "test_images", "image_size"):
            value = getattr(self, name)
            _check(name, value, value is None or (_is_whole(value) and value >= 1), "1 or more")


@dataclass(frozen=True)
class InitialSettings:
    """How the weights are born."""

    rule: str = "kaiming_uniform"
    """The distribution, by torch.nn.init's names; or constant, or shuffle (`permtrain list`)."""
    value: float | None = None
    """The one shared value of rule constant."""
    trained_rule: str = "kaiming_normal"
    """Rule shuffle moves trained weights within each vector. They are those of a run of its own,
    made first: by the inner optimizer alone, from weights of this rule ..."""
    trained_epochs: int | None = None
    """... for so many epochs; left out, for as many as this run."""
    vectors: Literal["kernel", "neuron", "layer"] = "neuron"
    """What a weight vector is for the options below; usually the granularity of the run."""
    share: bool = False
    """All weight vectors of a layer hold the same values."""
    quantiles: bool = False
    """Exact quantiles of the distribution in place of random draws."""
    pairwise: bool = False
    """Values come in pairs +v and -v."""
    levels: int | None = None
    """Only so many different values, equally frequent; 2 or more."""
    sparsity: float = 0.0
    """Fraction of each layer's weights that is zero, in [0, 1)."""
    layer_sparsity: dict[str, float] = field(default_factory=dict)
    """Sparsity layer by layer, in place of the above: weight name patterns and fractions, as in:
    0.weight 0.9 output.* 0.5. What no pattern matches stays dense."""
    sparsity_by: Literal["exact", "bernoulli", "magnitude"] = "exact"
    """Which weights are zero: an exact number at random places, each by chance, the smallest."""
    first_layer_sparsity_cap: float | None = None
    """At most this sparsity in the first layer (with bernoulli, the chance of it)."""
    sparse_fans: bool = False
    """Fans count only the part of the weights that is not zero at first: larger weights."""
    biases: Literal["rule", "zero", "keep"] = "rule"
    """Biases by the rule with their own length as fan-in, as zeros, or as torch draws them."""

    def __post_init__(self) -> None:
        _check("rule", self.rule, self.rule in RULES, ", ".join(RULES))
        drawn = [rule for rule in RULES if rule not in ("constant", "shuffle")]
        _check("trained_rule", self.trained_rule, self.trained_rule in drawn, ", ".join(drawn))
        epochs = self.trained_epochs
        whole = epochs is None or (_is_whole(epochs) and epochs >= 1)
        _check("trained_epochs", epochs, whole, "1 or more")
        if self.rule != "shuffle":
            why = f"nothing with rule {self.rule}"
            _check("trained_rule", self.trained_rule, self.trained_rule == "kaiming_normal", why)
            _check("trained_epochs", epochs, epochs is None, why)
        for rate in (self.sparsity, *self.layer_sparsity.values()):
            _check("sparsity", rate, 0 <= rate < 1, "0 to 1, without 1")
        both = bool(self.sparsity and self.layer_sparsity)
        _check("sparsity", self.sparsity, not both, "0, where layer_sparsity is given")
        _check("levels", self.levels, self.levels is None or self.levels >= 2, "2 or more")

    @property
    def is_sparse(self) -> bool:
        return bool(self.sparsity or self.layer_sparsity)


@dataclass(frozen=True)
class PermutationSettings:
    """How the weights are permuted."""

    method: Literal["laperm", "index", "sgperm", "plain", "plain-frozen-zeros", "supermask"] = (
        "laperm"
    )
    """laperm, index, sgperm, plain (the inner optimizer alone), plain-frozen-zeros, supermask."""
    sync_period: int | None = None
    """Steps between synchronisations, from 1. Left out: 20 for laperm, 1 for index."""
    sync_milestones: tuple[int, ...] = ()
    """Epochs after which the sync period changes ..."""
    sync_periods: tuple[int, ...] = ()
    """... to these, one for each milestone."""
    sync_milestones_in: Literal["epochs", "steps"] = "epochs"
    """What the milestones count: epochs, or optimizer steps."""
    permuted_steps: int | None = None
    """Permute for so many first steps only; then the inner optimizer goes on, its state carried
    over, and weights that are zero by then stay zero."""
    granularity: Literal["kernel", "neuron", "layer", "across"] | None = None
    """Which weights may exchange values; across: of all layers, each in units of a power of two
    near its He standard deviation. Left out: neuron for laperm and sgperm, layer for index."""
    fallback: Literal["neuron", "layer"] | None = None
    """Granularity of the layers that have none of the above, as linear layers have no kernels."""
    linear_granularity: Literal["neuron", "layer"] | None = None
    """Granularity of the linear layers, where it is another than that of the convolutions."""
    permute_biases: bool = False
    """Each layer's bias is a weight vector too; else the inner optimizer trains biases."""
    keep: float = 0.5
    """Part of each layer's weights that a supermask uses, above 0, at most 1."""

    def __post_init__(self) -> None:
        _check("method", self.method, self.method in METHODS, ", ".join(METHODS))
        _check(
            "sync_period",
            self.sync_period,
            self.sync_period is None or (_is_whole(self.sync_period) and self.sync_period >= 1),
            "a whole number of steps from 1",
        )
        self._check_sync_milestones()
        steps = self.permuted_steps
        _check(
            "permuted_steps", steps, steps is None or (_is_whole(steps) and steps >= 1), "1 or more"
        )
        if not self.permutes:
            for name in (
                "sync_period", "granularity", "fallback", "linear_granularity", "permute_biases",
            ):  # fmt: skip
                value = getattr(self, name)
                _check(name, value, value in (None, False), f"nothing with method {self.method}")
        linear = self.linear_granularity
        _check("linear_granularity", linear, linear in (None, "neuron", "layer"), "neuron, layer")
        if linear is not None:
            is_within = self.granularity in ("kernel", "neuron", "layer") and self.fallback is None
            allowed = "nothing without granularity kernel, neuron or layer, nor with fallback"
            _check("linear_granularity", linear, is_within, allowed)
            _check(
                "linear_granularity", linear, not self.permute_biases, "nothing with permute_biases"
            )
        _check("keep", self.keep, 0 < self.keep <= 1, "above 0, at most 1")
        if self.method != "supermask":
            _check("keep", self.keep, self.keep == 0.5, f"nothing with method {self.method}")
        if self.method == "sgperm":
            within = self.granularity != "across"
            allowed = "kernel, neuron, layer with method sgperm"
            _check("granularity", self.granularity, within, allowed)
        if self.method not in ("laperm", "index"):
            for name in ("sync_period", "sync_milestones", "permuted_steps"):
                value = getattr(self, name)
                _check(name, value, value in (None, ()), f"nothing with method {self.method}")

    def _check_sync_milestones(self) -> None:
        milestones, periods = self.sync_milestones, self.sync_periods
        ascending = list(milestones) == sorted(set(milestones))
        _check(
            "sync_milestones",
            milestones,
            ascending and all(_is_whole(each) and each >= 1 for each in milestones),
            f"ascending {self.sync_milestones_in} from 1",
        )
        _check(
            "sync_periods",
            periods,
            len(periods) == len(milestones)
            and all(_is_whole(each) and each >= 1 for each in periods),
            f"a whole number of steps from 1 for each of the {len(milestones)} milestones",
        )
        units = ("epochs", "steps")
        _check(
            "sync_milestones_in",
            self.sync_milestones_in,
            self.sync_milestones_in in units,
            ", ".join(units),
        )

    @property
    def permutes(self) -> bool:
        return self.method in ("laperm", "index", "sgperm")


@dataclass(frozen=True)
class SGPermSettings:
    """What method sgperm does at each step; other methods leave it alone.

    The defaults are what docs/sgperm.md says why. The inner optimizer and its learning rate are for
    what is not permuted, and for recommendation difference.
    """

    recommendation: Literal["momentum", "difference"] = "momentum"
    """What says where weights are to move: momentum, or difference, what a step of the inner
    optimizer would change."""
    search: Literal["start", "any", "bracket", "pair", "authors"] = "bracket"
    """How cycles are found: closed at their start, at any vertex, or two faster ways (bracket,
    pair); authors: as their code does."""
    order: Literal["nearest", "farthest", "random"] = "nearest"
    """Which permitted move is tried first."""
    aggressiveness: float = 0.05
    """How far a weight may change at first, as part of its vector's range (alpha)."""
    aggressiveness_min: float = 0.003
    """Alpha's floor."""
    aggressiveness_decay: float = 0.9965
    """Alpha is multiplied by this at every step."""
    partition_ratio: float = 1.0
    """Part of a vector that makes up a subset at first (lambda)."""
    partition_ratio_max: float = 1.0
    """Lambda's cap."""
    partition_ratio_growth: float = 1.0
    """Lambda is multiplied by this at every step."""
    momentum: float = 0.8
    """Of the gradients, whose running sum recommends moves."""
    momentum_max: float = 0.97
    """Momentum's cap where it grows."""
    momentum_approach: float = 1.0
    """The distance of momentum to 1 is multiplied by this at every step; at 1 momentum stays."""
    dampening: float = 0.0
    """1 minus this is what a new gradient counts in that sum."""
    permuted_biases: Literal["apart", "row"] = "apart"
    """Where biases are permuted: each layer's bias is a vector of its own (apart), or each bias is
    one more weight of its neuron's vector (row)."""


@dataclass(frozen=True)
class OptimizerSettings:
    """The inner optimizer and its learning rate."""

    inner: str = "Adam"
    """Any class of torch.optim, by name."""
    lr: float = 1e-3
    """Initial learning rate, above 0."""
    lookahead_period: int | None = None
    """Lookahead around the inner optimizer, a baseline: every so many steps slow weights go ..."""
    lookahead_step: float = 0.5
    """... this part of the way to the weights, above 0, below 1, and the weights go there."""
    inner_options: dict[str, float] = field(default_factory=dict)
    """Further arguments of that class, as in: momentum 0.9."""
    l2: float = 0.0
    """Penalty l2 * w^2 on all weights but biases, norms and the output layer, as Keras' l2: adds
    2 * l2 * w to the gradient."""
    lr_decay: float = 1.0
    """The learning rate is multiplied by this ..."""
    lr_decay_epochs: int = 1
    """... every so many epochs."""
    lr_milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate is also multiplied ..."""
    lr_factors: tuple[float, ...] = ()
    """... by these, one for each milestone."""
    lr_cosine: bool = False
    """The learning rate also falls to 0 along half a cosine wave, step by step over the run."""

    def __post_init__(self) -> None:
        _check("lr", self.lr, 0 < self.lr < math.inf, "above 0")
        period = self.lookahead_period
        whole = period is None or (_is_whole(period) and period >= 1)
        _check("lookahead_period", period, whole, "1 or more")
        _check(
            "lookahead_step", self.lookahead_step, 0 < self.lookahead_step < 1, "above 0, below 1"
        )
        if period is None:
            _check(
                "lookahead_step",
                self.lookahead_step,
                self.lookahead_step == 0.5,
                "0.5 without lookahead_period",
            )
        _check("l2", self.l2, 0 <= self.l2 < math.inf, "0 or more")
        _check("lr_decay", self.lr_decay, 0 < self.lr_decay <= 1, "above 0, up to 1")
        _check("lr_decay_epochs", self.lr_decay_epochs, self.lr_decay_epochs >= 1, "1 or more")
        ascending = list(self.lr_milestones) == sorted(set(self.lr_milestones))
        _check(
            "lr_milestones",
            self.lr_milestones,
            ascending and all(epoch >= 1 for epoch in self.lr_milestones),
            "ascending epochs from 1",
        )
        _check(
            "lr_factors",
            self.lr_factors,
            len(self.lr_factors) == len(self.lr_milestones)
            and all(0 < factor < math.inf for factor in self.lr_factors),
            f"one above 0 for each of the {len(self.lr_milestones)} milestones",
        )


@dataclass(frozen=True)
class Settings:
    """All that decides what a run computes. Where it runs is in `Place`."""

    data: DataSettings = DataSettings()
    augmentation: Augmentation = field(default_factory=Augmentation)
    normalization: Normalization = "z-score"
    """z-score: each channel less its mean, divided by its standard deviation. mean-image: each
    pixel less its own mean; not for streamed images. unit: pixels from 0 to 1 as they are. Means
    are those of the training images; they are taken off before images are augmented."""
    model: str = "digits-cnn"
    """A network by name (`permtrain list`), or module:function of your own."""
    initial: InitialSettings = field(default_factory=InitialSettings)
    permutation: PermutationSettings = PermutationSettings()
    sgperm: SGPermSettings = SGPermSettings()
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    epochs: int = 60
    """Passes over the training images."""
    batch_size: int = 32
    """Images in one optimizer step."""
    seed: int = 0
    """Of the initial weights, the batch order, the augmentation, dropout and the validation set."""
    autocast: Literal["off", "bfloat16"] = "off"
    """bfloat16 in the forward pass; weights stay float32."""
    reestimate_batch_norm: bool = False
    """Before each evaluation, batch norm statistics are measured anew, on training images, for the
    arranged weights, on a copy."""
    evaluate_at: tuple[int, ...] = ()
    """Evaluate after these optimizer steps too, as in: 25 100 400."""
    watched_steps: int = 0
    """For so many first steps, record which part of the weights changed, and by how much."""
    watch_ranking_distance: bool = False
    """Record the ranking distance of every step in the first weight matrix, for permtrain plot; it
    costs a sort of that matrix a step."""
    watch_every_layer: bool = False
    """Record it in all layers."""

    def __post_init__(self) -> None:
        steps = list(self.evaluate_at)
        ascending = steps == sorted(set(steps)) and all(_is_whole(s) and s >= 1 for s in steps)
        _check("evaluate_at", self.evaluate_at, ascending, "ascending steps from 1")
        whole = _is_whole(self.watched_steps) and self.watched_steps >= 0
        _check("watched_steps", self.watched_steps, whole, "0 or more")
        without = self.watch_every_layer and not self.watch_ranking_distance
        _check("watch_every_layer", True, not without, "False without watch_ranking_distance")
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
        _check("lookahead_period", period, period is None or alone, f"nothing with method {method}")
        if method == "sgperm" and self.optimizer.l2:
            raise SettingError(f"l2 is {self.optimizer.l2}; allowed with method sgperm: 0")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            _check(name, value, _is_whole(value) and value >= 1, "1 or more")
        in_range = _is_whole(self.seed) and 0 <= self.seed < 2**63
        _check("seed", self.seed, in_range, "0 to 2**63 - 1")
        known = self.normalization in NORMALIZATIONS
        _check("normalization", self.normalization, known, ", ".join(NORMALIZATIONS))
        _check("autocast", self.autocast, self.autocast in ("off", "bfloat16"), "off, bfloat16")
        # Kept biases are not drawn by us, so that nobody could tell their initial values later.
        keeps = self.initial.biases == "keep" and self.permutation.permute_biases
        _check("biases", self.initial.biases, not keeps, "rule or zero, with permute_biases")


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
    threads: int | None = None
    """Processor threads for torch; left out, as many as it likes. Other numbers of threads round
    otherwise: a resumed run takes that of its beginning."""
    memory_format: Literal["auto", "contiguous", "channels-last"] = "auto"
    """How images lie in memory. auto: channels last where a network of `permtrain list` has
    convolutions (1.1 to 1.3 times as fast on a CPU), else contiguous."""
    compile: bool = False
    """Run the network through torch.compile; the first steps take a minute longer."""
    checkpoint_steps: int | None = None
    """A checkpoint every so many steps too, not only after each epoch."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay, beside the best; 1 or more."""
    tensorboard: bool = False
    """Also write TensorBoard's event files into the run's folder: the numbers of each epoch, and
    the figures at the end."""

    def __post_init__(self) -> None:
        _check("keep_checkpoints", self.keep_checkpoints, self.keep_checkpoints >= 1, "1 or more")
        threads, steps = self.threads, self.checkpoint_steps
        fine = threads is None or 1 <= threads <= _MOST_THREADS
        _check("threads", threads, fine, f"1 to {_MOST_THREADS:,}")
        _check("checkpoint_steps", steps, steps is None or steps >= 1, "1 or more")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the folder of runs."""
        plain = dataclasses.asdict(self)
        del plain["runs_folder"]
        folder = plain["data_folder"]
        return plain | {"data_folder": None if folder is None else str(folder)}

    def filled_from(self, remembered: dict[str, Any]) -> "Place":
        """This place, its defaults replaced by what a run's folder remembers.

        What is no longer a matter of the place is left out.

        Example:
            >>> Place(device="cpu").filled_from({"device": "cuda", "threads": 2}).threads
            2
        """
        default = Place()
        filled: dict[str, Any] = {
            name: Path(value) if name == "data_folder" and value is not None else value
            for name, value in remembered.items()
            if name in vars(default) and getattr(self, name) == getattr(default, name)
        }
        return dataclasses.replace(self, **filled)


def to_dict(settings: Any) -> dict[str, Any]:
    """Plain data for JSON, nested as the dataclasses are; of settings of any kind."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))  # type: ignore[no-any-return]


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
        elif isinstance(default_of(fields[name]), dict) and not isinstance(value, dict):
            raise SettingError(
                f"{where}.{name} is {value!r}; allowed: an object of numbers by name"
            )
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)
    except TypeError as error:  # a text where a number is compared
        raise SettingError(f"{where} has a value of another type ({error})") from None


def changed_from_default(settings: Settings) -> dict[str, Any]:
    """The settings that differ from the defaults, as flat `group.name` keys.

    Example:
        >>> changed_from_default(Settings(epochs=3, data=DataSettings(data="mnist")))
        {'data.data': 'mnist', 'epochs': 3}
    """
    default = flat(to_dict(Settings()))
    return {
        name: value
        for name, value in flat(to_dict(settings)).items()
        if name not in default or value != default[name]
    }


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
    text = json.dumps(changed_from_default(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


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
