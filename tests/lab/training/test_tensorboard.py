"""TensorBoard's files hold the numbers of a run, also where it went on."""

from importlib.util import find_spec

import pytest
from run_problem import InterruptAt, place_in, tiny

from permtrain.errors import SettingError
from permtrain.lab.report.pictures import DRAWN
from permtrain.lab.training.run import resume_run, start_run
from permtrain.lab.training.run_folder import RunFolder
from permtrain.lab.training.stopping import Interrupted

needs_tensorboard = pytest.mark.skipif(
    find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


def logged(folder: RunFolder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.tensorboard_folder))
    events.Reload()
    return events


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_number_of_every_epoch_is_there_once(tmp_path) -> None:
    place = place_in(tmp_path, tensorboard=True)
    with pytest.raises(Interrupted):
        start_run(tiny(epochs=3), place, [InterruptAt(7)])  # in the second epoch
    (path,) = place.runs_folder.iterdir()
    result = resume_run(path, place)
    folder = RunFolder(result.folder)
    history = folder.metrics()
    events = logged(folder)
    assert len(history) == 3
    for name in ("train_loss", "test_accuracy", "test_loss"):
        scalars = events.Scalars(name)
        assert [event.step for event in scalars] == [1, 2, 3]
        assert [event.value for event in scalars] == pytest.approx([m[name] for m in history])


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_figures_join_the_numbers(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    from permtrain.lab.report.pictures import log_figures

    place = place_in(tmp_path, tensorboard=True)
    folder = RunFolder(start_run(tiny(epochs=1), place).folder)
    log_figures(folder)
    assert set(logged(folder).Tags()["images"]) <= set(DRAWN.values())
    assert "Weights before and after training" in logged(folder).Tags()["images"]


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_going_back_without_tensorboard_makes_what_came_later_void(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    from permtrain.lab.report.pictures import log_figures

    place = place_in(tmp_path, tensorboard=True, keep_checkpoints=9)
    folder = RunFolder(start_run(tiny(epochs=3), place).folder)
    log_figures(folder)
    (folder.place_file).unlink()
    with pytest.raises(Interrupted):
        resume_run(folder.path, place_in(tmp_path), [InterruptAt(7)], folder.checkpoint_after(5))
    events = logged(folder)
    assert [event.step for event in events.Scalars("test_accuracy")] == [1]
    assert [events.Images(tag) for tag in events.Tags()["images"]] == [[]] * len(DRAWN)


def test_without_tensorboard_it_is_refused_before_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("permtrain.lab.training.tensorboard.find_spec", lambda name: None)
    with pytest.raises(SettingError, match="tensorboard is not installed; pip install"):
        start_run(tiny(epochs=1), place_in(tmp_path, tensorboard=True))
