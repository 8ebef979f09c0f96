"""What docs/regression.md, across.md and inputs.md say of their tables holds for the rows."""

import statistics
from pathlib import Path

import pytest

from permtrain.lab.pictures.error_width import power_law
from permtrain.lab.pictures.records import errors_by_width
from permtrain.lab.recipes.experiments.regression.arms import PUBLISHED, WIDTHS
from permtrain.lab.recipes.rows import read_csv

RESULTS = Path(__file__).parents[2] / "results"
REGRESSION = RESULTS / "regression-1d-quick.csv"


def regression(column: str = "linf", variables: int = 1) -> dict[str, list[float]]:
    """Of each arm, by width."""
    rows = read_csv(RESULTS / f"regression-{variables}d-quick.csv")
    rows = sorted(rows, key=lambda row: row["width"])
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["arm"].rpartition(", n=")[0], []).append(row[column])
    return found


def test_slopes() -> None:
    errors = errors_by_width([REGRESSION])
    for init in ("equidistant", "pairwise"):
        assert power_law(errors[f"sine, LaPerm, {init}"]).slope == pytest.approx(-0.6, abs=0.05)
    published = {
        init: power_law({width: [linf] for width, (linf, _) in by_width.items()}).slope
        for (_, init), by_width in PUBLISHED.items()
    }
    assert published == pytest.approx({"equidistant": -0.6, "pairwise": -0.9}, abs=0.05)
    steeper = power_law(errors["sine, index optimizer, pairwise"]).slope
    assert steeper < power_law(errors["sine, LaPerm, pairwise"]).slope - 0.1


def test_beside_the_published_errors() -> None:
    for (_, init), by_width in PUBLISHED.items():
        for place, (column, power) in enumerate((("linf", 1), ("rmse", 0.5))):
            ours = regression(column)[f"sine, LaPerm, {init}"]
            ratios = [
                mine / by_width[width][place] ** power
                for width, mine in zip(WIDTHS, ours, strict=True)
            ]
            assert max(ratios[:-1]) < 1.6
            assert min(ratios[:-1]) > 1 / 1.6
            if (init, column) == ("pairwise", "linf"):
                assert ratios[-1] == pytest.approx(3.5, abs=0.05)
    adam = regression()["sine, Adam, pairwise"]
    assert adam[-1] > adam[-2]


def test_methods_from_the_same_values() -> None:
    found = regression()
    better, ahead = {}, {}
    for init in ("pairwise", "equidistant", "he", "glorot"):
        laperm, index, adam = (
            found[f"sine, {m}, {init}"] for m in ("LaPerm", "index optimizer", "Adam")
        )
        better[init] = [a / b for a, b in zip(laperm, index, strict=True)]
        ahead[init] = [a / b for a, b in zip(index, adam, strict=True)]
    assert min(map(min, better.values())) > 1
    most = {init: max(ratios) for init, ratios in better.items()}
    assert most["pairwise"] == pytest.approx(2.5, abs=0.05)
    assert most["equidistant"] == pytest.approx(4, abs=0.05)
    assert 2.5 < min(most["he"], most["glorot"]) <= max(most["he"], most["glorot"]) < 3.5
    for inits, least, greatest in (
        (("pairwise", "equidistant"), 1.35, 5),
        (("he", "glorot"), 3, 9.5),
    ):
        ratios = [ratio for init in inits for ratio in ahead[init]]
        assert least < min(ratios) <= max(ratios) < greatest


def test_he_glorot_and_uniform() -> None:
    found = regression()
    pairs = found["sine, LaPerm, pairwise"]
    for init, most in (("he", 3.5), ("glorot", 4.1)):
        ratios = [a / b for a, b in zip(found[f"sine, LaPerm, {init}"], pairs, strict=True)]
        assert max(ratios) == pytest.approx(most, abs=0.05)
        slope = power_law(errors_by_width([REGRESSION])[f"sine, LaPerm, {init}"]).slope
        assert -0.65 < slope < -0.4
    worst = [
        max(map(float, row["linf_each"].split()))
        for row in read_csv(REGRESSION)
        if row["arm"].rpartition(", n=")[0] in ("sine, LaPerm, he", "sine, LaPerm, glorot")
    ]
    assert len(worst) == 2 * len(WIDTHS)
    assert min(worst) >= 0.8
    uniform = found["sine, LaPerm, uniform"]
    for init in ("he", "glorot"):
        close = zip(uniform, found[f"sine, LaPerm, {init}"], strict=True)
        assert sum(a < 0.95 * b for a, b in close) <= 1
    ends = [found[f"sine, index optimizer, {init}"][-1] for init in ("he", "glorot", "pairwise")]
    assert ends == pytest.approx([0.10, 0.09, 0.07], abs=0.005)
    for init in ("he", "glorot"):
        assert min(found[f"sine, LaPerm, {init}, biases too"]) > 1


def test_legendre() -> None:
    for init, until in (("equidistant", 80), ("pairwise", 160)):
        errors = regression()[f"legendre, LaPerm, {init}"]
        lowest = WIDTHS.index(until)
        assert errors[: lowest + 1] == sorted(errors[: lowest + 1], reverse=True)
        assert errors[lowest] / errors[0] == pytest.approx(0.25, abs=0.06)
        assert errors[-1] > 1.5 * errors[lowest]


def test_more_variables() -> None:
    two = regression(variables=2)
    for init in ("equidistant", "pairwise"):
        assert two[f"sine-2d, Adam, {init}"][-1] > 1
    assert two["sine-2d, Adam, equidistant"][0] == pytest.approx(0.34, abs=0.005)
    three = regression(variables=3)
    assert len(three) == 6
    assert min(map(min, three.values())) > 1


DEALT_OUT = {
    "fc500-300": (0.41, (784 * 500, 500 * 300, 300 * 10)),
    "lenet5": (0.36, (6 * 25, 16 * 6 * 25, 120 * 400, 84 * 120, 10 * 84)),
}


def test_weights_that_cross_layers() -> None:
    found: dict[str, list[float]] = {}
    for row in read_csv(RESULTS / "across-layers.csv"):  # seed by seed in the recipe's order
        found.setdefault(row["arm"], []).append(row["validation_percent"])
    mean = {arm: statistics.mean(values) for arm, values in found.items()}
    for net in ("fc500-300", "lenet5"):
        for method in ("LaPerm k=20", "index"):
            across, layer = (f"{net}: {method}, {where}" for where in ("across", "layer"))
            gain = mean[across] - mean[layer]
            if across == "lenet5: LaPerm k=20, across":
                assert gain == pytest.approx(0.2, abs=0.05)
                assert all(a > b for a, b in zip(found[across], found[layer], strict=True))
            else:
                assert 0 < gain < 0.1
            assert abs(mean[across] - mean[f"{net}: Adam"]) < 0.05
    by_length = [
        mean[f"lenet5: {method}, layer"] - mean[f"lenet5: {method}, neuron"]
        for method in ("LaPerm k=20", "index")
    ]
    assert by_length == pytest.approx([1.1, 0.1], abs=0.05)
    connected = [value for arm, value in mean.items() if arm.startswith("fc500-300")]
    assert max(connected) - min(connected) < 0.2


def test_layers_nearly_keep_their_scale() -> None:
    rows = [
        row for row in read_csv(RESULTS / "across-layers.csv") if row["layer_rms_ratio"] is not None
    ]
    assert len(rows) == 12
    larger = {"conv2.weight": (1.02, 1.045), "fc1.weight": (1.01, 1.025)}
    smaller = {"output.weight": (0.965, 0.995), "fc2.weight": (0.965, 0.975)}
    for row in rows:
        net = row["arm"].partition(":")[0]
        each = dict(word.split("=") for word in row["layer_rms_ratio"].split())
        for name, text in each.items():
            ratio = float(text)
            is_told = name in ("conv2.weight", "output.weight") or net == "fc500-300"
            low, high = (larger | smaller)[name] if is_told else (0.98, 1.015)
            assert low < ratio < high, (row["arm"], name, ratio)
        by_chance, sizes = DEALT_OUT[net]
        assert 1 - sum((n / sum(sizes)) ** 2 for n in sizes) == pytest.approx(by_chance, abs=0.005)
        assert by_chance - 0.06 < row["changed_layer_fraction"] < by_chance + 0.01


def test_unshuffling() -> None:
    rows = {row["arm"]: row for row in read_csv(RESULTS / "unshuffle-mnist.csv")}
    psnr = {arm: row["psnr"] for arm, row in rows.items()}
    assert psnr["published"] == pytest.approx(7.8, abs=0.05)
    assert rows["published"]["shuffled_psnr"] == pytest.approx(7.6, abs=0.05)
    assert psnr["published, lr 0.05"] == pytest.approx(8.8, abs=0.05)
    assert rows["published, lr 0.05"]["classified_percent"] == pytest.approx(69, abs=0.5)
    class_mean = rows["published"]["class_mean_psnr"]
    assert class_mean == pytest.approx(11.6, abs=0.05)
    normal, nearest = "normal distribution", "normal distribution around the nearest"
    assert {arm for arm, value in psnr.items() if value > class_mean} == {normal, nearest}
    assert psnr[normal] == pytest.approx(11.7, abs=0.05)
    assert psnr[nearest] == pytest.approx(11.8, abs=0.05)
    taken_away = psnr[normal] - psnr["normal distribution and published"]
    assert taken_away == pytest.approx(0.2, abs=0.05)


def test_sortgan_on_fashion() -> None:
    rows = {row["arm"]: row for row in read_csv(RESULTS / "sortgan-fashion-short.csv")}
    assert len(rows) == 9
    nearest, with_gan = rows["nearest 100"], rows["regression and GAN, conv"]
    assert {row["epochs"] for row in rows.values() if row is not nearest} == {10}
    for row in rows.values():
        assert row["class_mean_psnr"] == pytest.approx(13.4, abs=0.05)
        assert 96 < row["class_mean_classified_percent"] < 97
        assert row["judge_percent"] == pytest.approx(87.6)
        if row["arm"].startswith("published"):
            assert 8.4 < row["psnr"] < 9.05
            assert 11 < row["classified_percent"] < 26.5
        elif row not in (nearest, with_gan):
            assert row["psnr"] == pytest.approx(14.1, abs=0.05)
            assert row["ssim"] > row["class_mean_ssim"]
            assert 96 < row["classified_percent"] < 97
            assert 0 < row["psnr"] - nearest["psnr"] < 0.2
    assert rows["regression, conv"]["psnr"] - with_gan["psnr"] == pytest.approx(3.6, abs=0.05)
    assert nearest["classified_percent"] == pytest.approx(98.2, abs=0.05)


def test_sortgan() -> None:
    rows = {row["arm"]: row for row in read_csv(RESULTS / "sortgan-mnist-short.csv")}
    assert len(rows) == 9
    assert {row["epochs"] for arm, row in rows.items() if arm != "nearest 100"} == {10}
    published = [row for arm, row in rows.items() if arm.startswith("published")]
    assert len(published) == 4
    for row in published:
        assert 8.35 < row["psnr"] < 9.05
        assert row["shuffled_psnr"] == pytest.approx(7.2, abs=0.1)
        assert 8 < row["classified_percent"] < 11
    squared_error = [row for arm, row in rows.items() if arm.startswith("regression")]
    (with_gan,) = (row for row in squared_error if "GAN" in row["arm"])
    for row in squared_error:
        assert row["class_mean_psnr"] == pytest.approx(11.6, abs=0.05)
        if row is not with_gan:
            assert row["psnr"] == pytest.approx(11.9, abs=0.05)
            assert row["ssim"] > row["class_mean_ssim"]
            assert row["classified_percent"] == pytest.approx(99.9, abs=0.05)
    taken_away = rows["regression, conv"]["psnr"] - with_gan["psnr"]
    assert taken_away == pytest.approx(2.2, abs=0.05)
