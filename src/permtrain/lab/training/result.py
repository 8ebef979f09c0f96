"""The result of a classifier's run."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from permtrain.errors import CheckpointError, one_line
from permtrain.lab.training.change import Change
from permtrain.lab.training.json_files import read_json, require_values, with_nan
from permtrain.lab.training.record import Accuracy, EpochLine
from permtrain.lab.training.run_folder import Metrics, RunFolder
from permtrain.lab.training.travel import Travel
from permtrain.ranges import Count, NotNegative


@dataclass(frozen=True)
class RunResult:
    """What a complete run has to tell.

    Attributes:
        folder: the run's folder.
        test_accuracy: of the last epoch, a fraction.
        best_test_accuracy, best_epoch: of the epoch with the highest accuracy on `selected_on`.
        selected_on: "validation", or "test" where no validation images were set aside.
        verification: whether every permuted vector holds its initial values, in words; None where
            the method permutes nothing. Where permutation ended before training did, what held
            then.
        intact: the same as a truth value.
        travel: how far the permuted weights travelled; None likewise, or if they are not intact.
        wall_s: seconds of training and evaluation, over all sessions.
        evaluations: step, losses and accuracies after the steps that were asked for.
        changes: means over the steps that were watched; None if none was.
        validation_accuracy: after the last epoch; None without a validation split.
        test_bits, validation_bits: bits per character after the last epoch, of text; None likewise.
    """

    folder: Path
    settings_hash: str
    epochs: Count
    test_accuracy: Accuracy
    best_test_accuracy: Accuracy
    best_epoch: Count
    selected_on: str
    verification: str | None
    intact: bool | None
    travel: Travel | None
    wall_s: NotNegative
    evaluations: list[Metrics] = field(default_factory=list)
    changes: Change | None = None
    validation_accuracy: Accuracy | None = None
    test_bits: float | None = None
    validation_bits: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"folder": self.folder.name}

    @classmethod
    def read(cls, folder: RunFolder) -> "RunResult":
        """The result of a complete run, from its file.

        Raises:
            CheckpointError: the file is damaged.
        """
        plain = read_json(folder.result_file) | {"folder": folder.path}
        where = str(folder.result_file)
        try:
            require_values(plain, cls, where)
            travel, changes = plain["travel"], plain.get("changes")
            if changes is not None:
                changes = with_nan(changes)
            for kind, each in ((Travel, travel), (Change, changes)):
                if each is not None:
                    require_values(each, kind, where)
            evaluations = list(map(with_nan, plain.get("evaluations", [])))
            for each in evaluations:
                require_values(each, EpochLine, where, ("step", "test_accuracy"))
            return cls(
                **plain
                | {
                    "travel": None if travel is None else Travel(**travel),
                    "changes": None if changes is None else Change(**changes),
                    "evaluations": evaluations,
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{folder.result_file}: not the result of a run ({one_line(error)})"
            ) from None
