"""Errors against width: slopes, the reader of results, the drawing."""

from pathlib import Path

import pytest

from permtrain.errors import PictureError
from permtrain.lab.pictures.error_width import draw_error_width
from permtrain.lab.pictures.numbers.power_law import power_law
from permtrain.lab.pictures.records import errors_by_width


def test_a_slope_by_hand() -> None:
    # Logarithms to base 2: x 0, 1, 2 and y 3, 1, 2. Slope -1/2, through (1, 2); residuals
    # 1/2, -1, 1/2, so that the slope's variance is (3/2) / 1 / 2.
    law = power_law({1: [8.0], 2: [2.0], 4: [4.0]})
    assert law.slope == pytest.approx(-0.5)
    assert law.factor == pytest.approx(2**2.5)
    assert law.standard_error == pytest.approx(0.75**0.5)


def test_two_points_have_no_standard_error() -> None:
    assert str(power_law({1: [4.0], 4: [2.0]})) == "-0.50"
    assert str(power_law({1: [4.0, 4.0], 4: [2.0, 2.0]})) == "-0.50 ± 0.00"


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({}, "errors are of 0 widths; allowed: two or more"),
        ({8: [1.0]}, "errors are of 1 widths; allowed: two or more"),
        ({8: [1.0], 16: [0.0]}, "width or error is 0; allowed: above 0"),
    ],
)
def test_what_has_no_slope(errors: dict[int, list[float]], message: str) -> None:
    with pytest.raises(PictureError) as refused:
        power_law(errors)
    assert str(refused.value) == message
    if errors:
        with pytest.raises(PictureError, match=r"^arm: "):
            draw_error_width({"arm": errors})


def test_rows_become_groups_by_width(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        'arm,width,linf_each\n"a, n=8",8,0.5 0.25\n"a, n=4",4,1 2\n"b, n=4",4,3\n"a, n=8",8,0.125\n'
    )
    assert errors_by_width([table]) == {"a": {4: [1.0, 2.0], 8: [0.5, 0.25, 0.125]}}
    assert list(errors_by_width([table])["a"]) == [4, 8]


def test_arms_that_do_not_name_their_width_stay_apart(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("arm,width,linf_each\na,4,1\na,8,.5\nb,4,3\nb,8,2\n")
    assert errors_by_width([table]) == {"a": {4: [1.0], 8: [0.5]}, "b": {4: [3.0], 8: [2.0]}}


def test_failures_and_rows_of_other_settings_are_left_out(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        'arm,status,width,linf_each\n"a, n=8",complete,8,0.5\n"a, n=8",other settings,8,9\n'
        '"a, n=4",,4,1\n"a, n=2",failed,,\n'
    )
    assert errors_by_width([table]) == {"a": {4: [1.0], 8: [0.5]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('arm,width,linf_each\n"a, n=4",4,x\n', "line 2: width is '4', linf_each is 'x'; allowed"),
        ("arm,linf_each\na,1\n", "has no column width"),
        ('arm,width,linf_each\n"a, n=4",4,1\n', "no arm has errors at two widths or more"),
    ],
)
def test_tables_without_errors_are_refused(text: str, message: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    with pytest.raises(PictureError, match=message):
        errors_by_width([table])


def test_the_figure_shows_means_bars_and_a_guide() -> None:
    figure = draw_error_width({"a": {4: [1.0, 4.0], 16: [0.5, 2.0]}})
    [axes] = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    guide = lines["slope -1/2"]
    assert guide.get_xdata().tolist() == [4, 16]
    assert guide.get_ydata().tolist() == pytest.approx([2.0, 1.0])
    [bars] = axes.containers
    assert bars.get_label() == "a: slope -0.50 ± 0.71"
    assert list(bars.lines[0].get_ydata()) == pytest.approx([2.0, 1.0])


@pytest.mark.parametrize(("num_arms", "largest"), [(3, 1.02**2), (7, 1.02**6), (40, 1.15)])
def test_many_arms_stay_near_their_widths(num_arms: int, largest: float) -> None:
    figure = draw_error_width({f"a{i}": {4: [1.0], 16: [0.5]} for i in range(num_arms)})
    last = figure.axes[0].containers[-1].lines[0]
    shift = last.get_xdata() / [4, 16]
    assert shift == pytest.approx(largest, rel=1e-9 if num_arms < 8 else 0.01)
