"""What a run's checkpoints are looked at for."""

from pathlib import Path

from run_problem import place_in, plain

from permtrain.lab.report.inspection import Inspector
from permtrain.lab.training.run import start_run
from permtrain.lab.training.run_folder import RunFolder


def test_neurons_with_one_input_hide_no_other_layer(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    settings = plain(model="run_problem:net_of_single_inputs", epochs=1)
    inspection = Inspector(RunFolder(start_run(settings, place).folder), place).look()
    assert inspection.hindrance is None
    assert [(layer.name, layer.granularity) for layer in inspection.layers] == [
        ("1.weight", "neuron"),
        ("2.weight", "neuron"),
        ("3.weight", "layer"),
    ]
