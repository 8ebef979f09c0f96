"""What goes into each chart, worked by hand."""

import math

import pytest
import torch

from permtrain.core.cut import Cut
from permtrain.lab.pictures.numbers.bands import Band
from permtrain.lab.pictures.numbers.movement import movement
from permtrain.lab.pictures.numbers.sizes import Size
from permtrain.lab.report.figures import curve_figure, dots_figure, heat_figure, label, size_figure
from permtrain.lab.report.measures import bands_of, measures_of
from permtrain.lab.report.page import curve_table


def record(*losses: float, **more: float) -> list[dict[str, float]]:
    return [{"epoch": n, "test_loss": loss, **more} for n, loss in enumerate(losses, 1)]


def test_bands_are_means_over_groups_with_their_range() -> None:
    runs = [
        ("b", record(4.0, 2.0, 1.0)),
        ("a", record(8.0)),
        ("b", record(2.0, 4.0)),
        ("c", []),
    ]
    found = bands_of(runs, "test_loss")
    assert list(found.items()) == [
        ("b", Band([1, 2, 3], [3.0, 3.0, 1.0], [2.0, 2.0, 1.0], [4.0, 4.0, 1.0], [2, 2, 1])),
        ("a", Band([1], [8.0], [8.0], [8.0], [1])),
    ]
    assert bands_of(runs, "validation_loss") == {}


def test_long_curves_are_thinned() -> None:
    band = bands_of([("a", record(*map(float, range(9))))], "test_loss", most=3)["a"]
    assert (band.x, band.mean) == ([1, 5, 9], [0.0, 4.0, 8.0])


def test_measures_are_those_of_any_record_in_our_order() -> None:
    histories = [record(1.0, lr=0.1, step=3), record(1.0, test_accuracy=0.5), []]
    assert measures_of(histories) == ["test_accuracy", "test_loss", "lr"]


def test_a_curve_as_plotly_draws_it() -> None:
    alone = Band([1, 2], [0.5, None], [0.5, None], [0.5, None], [1, 1])
    seeds = Band([1, 2, 3], [2.0, None, 4.0], [1.0, None, 3.0], [3.0, None, 5.0], [2, 2, 2])
    figure = curve_figure({"<i>a</i>": alone, "b": seeds}, "test_accuracy")
    line, band, mean = figure["data"]
    assert (line["name"], line["x"], line["y"]) == ("&lt;i&gt;a&lt;/i&gt;", [1, 2], [0.5, None])
    assert line["hovertemplate"] == "%{y:.2%}"
    assert figure["layout"]["yaxis"]["tickformat"] == ".1~%"
    assert (band["x"], band["y"]) == ([1, 3, 3, 1], [3.0, 5.0, 3.0, 1.0])
    assert (band["fillcolor"], mean["line"]["color"]) == ("#D55E0033", "#D55E00")
    assert mean["y"] == [2.0, None, 4.0]
    assert "tickformat" not in curve_figure({"a": alone}, "test_loss")["layout"]["yaxis"]


def test_the_first_24_groups_look_different() -> None:
    many = {str(n): Band([1], [0.0], [0.0], [0.0], [1]) for n in range(24)}
    lines = [trace["line"] for trace in curve_figure(many, "lr")["data"]]
    assert len({(line["color"], line["dash"]) for line in lines}) == 24


def test_a_method_has_one_color_and_a_network_one_dash_and_marker() -> None:
    band = Band([1], [0.0], [0.0], [0.0], [1])
    groups = ["lenet5: Adam", "lenet5: LaPerm", "fc: Adam"]
    first, second, third = curve_figure(dict.fromkeys(groups, band), "lr")["data"]
    assert first["line"]["color"] == third["line"]["color"] != second["line"]["color"]
    assert first["line"]["dash"] == second["line"]["dash"] != third["line"]["dash"]
    assert first["marker"] == second["marker"] != third["marker"]


def test_a_table_has_a_row_for_each_epoch_of_any_curve() -> None:
    found = bands_of([("a", record(0.5, 0.25)), ("b", record(math.nan))], "test_loss")
    assert curve_table(found, "test_loss") == {
        "groups": ["a", "b"],
        "rows": [(1, ["0.5", "-"]), (2, ["0.25", "-"])],
        "is_thinned": False,
    }
    long = curve_table(bands_of([("a", record(*[0.5] * 90))], "test_loss"), "test_accuracy")
    assert long["is_thinned"]
    assert len(long["rows"]) == 20
    assert (long["rows"][0], long["rows"][-1]) == ((1, ["50.00%"]), (90, ["50.00%"]))


def test_labels_are_shown_as_they_are() -> None:
    assert label('<a href="x">&</a>') == '&lt;a href="x"&gt;&amp;&lt;/a&gt;'


def test_pictures_of_a_layer_have_scales_that_hold_all_states() -> None:
    cuts = {"w": Cut("neuron").of((2, 2))}
    born, later = torch.tensor([[0.4, 0.1], [0.3, 0.2]]), torch.tensor([[-0.8, 0.1], [0.3, 0.2]])
    (layer,) = movement([(0, {"w": born}), (7, {"w": later})], cuts)
    (heat,) = heat_figure(layer)["data"]
    assert (heat["zmin"], heat["zmax"], heat["x"], heat["y"]) == (-0.8, 0.8, ["0", "1"], ["0", "1"])
    dots = dots_figure(layer)
    assert dots["data"][0]["x"] == [0.0, 0.3333, 0.6667, 1.0]
    assert dots["layout"]["yaxis"]["range"] == pytest.approx([-0.84, 0.84])


def test_a_layer_of_zeros_has_a_scale() -> None:
    (layer,) = movement([(0, {"w": torch.zeros(1, 1)})], {"w": Cut("neuron").of((1, 1))})
    assert heat_figure(layer)["data"][0]["zmax"] == 1.0
    assert dots_figure(layer)["data"][0]["x"] == [0.0]


def test_sizes_as_plotly_draws_them() -> None:
    figure = size_figure([Size("file", 4.0, 1.0, 1.0, is_file=True), Size("mask", 9.0, 1.0, 2.0)])
    (bars,) = figure["data"]
    assert (bars["x"], bars["y"]) == ([9.0, 4.0], ["mask", "file"])
    assert bars["marker"]["color"] == ["#0072B2", "#D55E00"]
