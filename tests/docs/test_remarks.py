"""The remarks of docs/reproduction.md hold for the rows of results/ that stand above them."""

import statistics
from itertools import product
from pathlib import Path

import pytest

from permtrain.lab.recipes.recipe import Budget
from permtrain.lab.recipes.registry import find_recipe
from permtrain.lab.recipes.rows import is_complete, read_csv, results_file
from permtrain.lab.recipes.verdict import tolerance
from permtrain.lab.training.birth import newborn_network

RESULTS = Path(__file__).parents[2] / "results"


def means(recipe: str, budget: Budget = "paper", column: str = "test_percent") -> dict[str, float]:
    """Of each arm that has this column, over its seeds."""
    found: dict[str, list[float]] = {}
    for row in read_csv(results_file(RESULTS, recipe, budget)):
        if is_complete(row) and row[column] is not None:
            found.setdefault(row["arm"], []).append(row[column])
    return {arm: statistics.mean(values) for arm, values in found.items()}


@pytest.mark.parametrize(
    ("granularity", "rule", "published", "published_k1"),
    [
        ("layer", "uniform", 99.34, 99.16),
        ("layer", "normal", 99.49, 99.49),
        ("neuron", "uniform", 99.26, 98.96),
        ("neuron", "normal", 99.51, 98.77),
        ("kernel", "uniform", 99.27, 95.16),
        ("kernel", "normal", 99.48, 98.63),
    ],
)
def test_index_optimizer(
    granularity: str, rule: str, published: float, published_k1: float
) -> None:
    found = means(f"index-{granularity}")
    index = found[f"kaiming_{rule}, index per {granularity}"]
    assert 0 < index - found[f"kaiming_{rule}, Adam"] < 0.25
    assert 0.3 < published - index < 0.7
    k1 = found[f"kaiming_{rule}, LaPerm k=1 per {granularity} (without STE)"]
    if granularity == "layer":
        assert k1 == pytest.approx(98.5, abs=0.1)
        assert 0.7 < published_k1 - k1 < 0.95
        return
    assert 81 < k1 < 82.5
    whole = found[
        f"kaiming_{rule}, LaPerm k=1 per {granularity}, linear layers whole (without STE)"
    ]
    assert 97.55 < whole < 97.95
    if (granularity, rule) == ("kernel", "uniform"):
        assert whole - published_k1 == pytest.approx(2.4, abs=0.1)
    else:
        assert 0.85 < published_k1 - whole < 1.15


@pytest.mark.parametrize(
    ("granularity", "published", "published_k1"),
    [("layer", 99.18, 96.56), ("neuron", 99.41, 92.91), ("kernel", 99.36, 69.65)],
)
def test_index_optimizer_from_sparse_weights(
    granularity: str, published: float, published_k1: float
) -> None:
    found = means(f"index-{granularity}")
    moved = means(f"index-{granularity}", column="moved_fraction")
    adam = found["sparse, Adam"]
    whole = "" if granularity == "layer" else ", linear layers whole"
    for suffix in {"", whole}:
        index = f"sparse, index per {granularity}{suffix}"
        ahead = (0.2, 0.5) if granularity == "kernel" else (0.7, 0.81)
        assert ahead[0] < found[index] - adam < ahead[1]
        assert 0.95 < published - found[index] < 1.75
        assert 0.145 < moved[index] < 0.185
        k1 = f"sparse, LaPerm k=1 per {granularity}{suffix} (without STE)"
        low, high = (62.5, 64.5) if suffix or granularity == "layer" else (40.5, 41.5)
        assert low < found[k1] < high < published_k1
        assert moved[k1] < 0.1

    index = f"sparse, one threshold, index per {granularity}{whole}"
    k1 = f"sparse, one threshold, LaPerm k=1 per {granularity}{whole} (without STE)"
    adam_of_one = found["sparse, one threshold, Adam"]
    assert 98.55 < found[index] < 98.75
    assert 0.2 < found[index] - adam_of_one < 0.4
    assert 0.4 < published - found[index] < 0.8
    assert 80.5 < found[k1] < 82.5
    assert (found[k1] > published_k1) == (granularity == "kernel")
    assert adam_of_one > adam
    assert 0.145 < moved[index] < 0.185
    assert moved[k1] < 0.1


def test_where_sparse_weights_are() -> None:
    sparse = {
        "one threshold" in arm.group: arm.settings
        for arm in find_recipe("index-layer").arms_within("paper")
        if arm.settings.initial.is_sparse
    }
    zeros = dict(sparse[True].initial.layer_sparsity)
    assert zeros.pop("fc1.weight") == pytest.approx(0.95, abs=0.005)
    assert min(zeros.values()) == pytest.approx(0.38, abs=0.005)
    assert max(zeros.values()) == pytest.approx(0.77, abs=0.005)
    for settings in sparse.values():
        model = newborn_network(settings, (1, 28, 28), 10)
        sizes = [w.detach().abs() for w in model.parameters() if w.dim() > 1]
        smallest = min(float(size[size > 0].min()) for size in sizes)
        assert smallest > 100 * settings.optimizer.lr


def test_whole_linear_layers_and_the_index_optimizer() -> None:
    for granularity in ("neuron", "kernel"):
        found = means(f"index-{granularity}")
        for rule in ("normal", "uniform"):
            index = f"kaiming_{rule}, index per {granularity}"
            assert found[f"{index}, linear layers whole"] < found[index]


def test_one_shared_value() -> None:
    rows = read_csv(RESULTS / "laperm-agnostic-mnist.csv")

    def of(arm: str) -> list[float]:
        return [r["test_percent"] for r in rows if r["arm"] == arm]

    for net, published, low, high, above in (
        ("f1, 60% left", 85.46, 85, 87, 0.8),
        ("f1, 4/7 left", 85.46, 85, 87, 0.8),
        ("f2, 10% left", 53, 43.5, 68.5, 5.7),
        ("f2, 1/15, 1/7, 1/3 left", 78.14, 61, 81, -6.9),
    ):
        percents = of(f"{net}, LaPerm k=250")
        assert len(percents) == 30
        assert low < min(percents) < max(percents) < high
        assert statistics.mean(percents) - published == pytest.approx(above, abs=0.1)
        z_scored = of(f"{net}, z-scored, LaPerm k=250")
        assert len(z_scored) == 30
        assert 4 < published - statistics.mean(z_scored) < 25.5


def test_resnet20_on_the_copies() -> None:
    found, best = (
        means("laperm-resnet20-cifar10-jpeg", "short", column)
        for column in ("test_percent", "best_test_percent")
    )
    assert found["LaPerm k=10"] - found["Adam"] == pytest.approx(1.8, abs=0.05)
    assert best["LaPerm k=10"] == found["LaPerm k=10"]
    assert best["Adam"] > found["Adam"]


def test_resnet20_as_the_rate_falls() -> None:
    found = means("open-resnet20", "short", "validation_percent")
    for granularity, by_levels in (("layer", (4.4, 10.3)), ("neuron", (5.8, 14.0))):
        whole = found[f"index per {granularity}"]
        assert found["Adam"] - whole == pytest.approx(2, abs=0.05)
        few = [whole - found[f"index per {granularity}, {n} levels"] for n in (4, 2)]
        assert few == pytest.approx(by_levels, abs=0.05)
    assert found["Adam"] - found["LaPerm k=10"] == pytest.approx(11, abs=0.05)
    for recipe, at_the_end in (
        ("laperm-resnet20-cifar10-jpeg", (64.9, 63.1)),
        ("open-resnet20", (60.2, 70.8)),
    ):
        on_test = means(recipe, "short")
        ours = [on_test["LaPerm k=10"], on_test["Adam"]]
        assert ours == pytest.approx(at_the_end, abs=0.05)


def test_rewiring() -> None:
    rewired, alone = "LaPerm k=30 for 1,500 batches, then Adam", "Adam, zeros fixed"
    rows = read_csv(RESULTS / "laperm-rewire-mnist.csv")
    for suffix, after_laperm, gain in (("", (59.5, 71), 0.1), (", z-scored", (84.5, 88.5), 0.3)):
        mine = [row for row in rows if row["arm"] == rewired + suffix]
        others = [row for row in rows if row["arm"] == alone + suffix]
        gains = [
            one["test_percent"] - other["test_percent"]
            for one, other in zip(mine, others, strict=True)
        ]
        assert len(gains) == 3
        assert min(gains) > 0
        assert statistics.mean(gains) == pytest.approx(gain, abs=0.05)
        for row in mine:
            at = dict(each.split("=") for each in row["test_percent_at"].split())
            assert after_laperm[0] < float(at["1500"]) < after_laperm[1]
            assert suffix or 0.55 < float(at["1500"]) - float(at["1200"]) < 2.4


def test_initial_weights() -> None:
    found = means("laperm-init-mnist", "short")
    he = [found[f"He {kind}, LaPerm"] for kind in ("uniform", "normal")]
    glorot = [found[f"Glorot {kind}, LaPerm"] for kind in ("uniform", "normal")]
    assert he[0] == he[1]
    for kind in (0, 1):
        assert 0.15 < he[kind] - glorot[kind] < 0.35
    assert abs(found["Adam's shuffled, LaPerm"] - glorot[1]) < 0.06
    assert he[0] - found["Adam"] == pytest.approx(0.2, abs=0.05)
    assert he[0] - found["Lookahead"] == pytest.approx(0.1, abs=0.05)
    assert 99.76 - he[0] == pytest.approx(0.2, abs=0.05)
    assert tolerance(99.5, None, 1) == pytest.approx(0.2, abs=0.01)


def test_ranking_distance() -> None:
    distance = means("ranking-distance", column="ranking_distance")
    spread = means("ranking-distance", column="ranking_deviation")
    adam, dropout, l2 = "Adam", "Adam, dropout .4 and .3", "Adam, L2 2e-4"
    assert distance[l2] > 2 * distance[adam]
    assert spread[l2] > 4 * spread[adam]
    assert 1 < distance[dropout] / distance[adam] < 1.2


def test_k_of_1() -> None:
    found = means("open-k1", column="validation_percent")
    best = {net: best_of(found, net) for net in ("fc500-300", "lenet5")}
    lenet = {arm: value for arm, value in found.items() if arm.startswith("lenet5")}
    assert max(lenet, key=lenet.__getitem__) == "lenet5: LaPerm k=20, lr 0.01"
    per_neuron = found["lenet5: LaPerm k=1, lr 0.03"]
    assert per_neuron == best_of(found, "lenet5: LaPerm k=1")
    assert abs(per_neuron - best_of(found, "lenet5: Adam")) < 0.05
    assert best_of(found, "lenet5: Adam") == found["lenet5: Adam, lr 0.003"]
    assert best["lenet5"] - per_neuron == pytest.approx(0.2, abs=0.05)
    per_layer = found["lenet5: LaPerm k=1 per layer, lr 0.01"]
    assert per_layer == best_of(found, "lenet5: LaPerm k=1 per layer")
    assert abs(per_layer - best_of(found, "lenet5: index")) < 0.05
    assert best_of(found, "lenet5: index") == found["lenet5: index per layer, lr 0.01"]
    for arm, behind in (
        ("fc500-300: LaPerm k=1 per layer, lr 0.001", 0.1),
        ("fc500-300: LaPerm k=1, lr 0.003", 0.4),
        ("fc500-300: LaPerm k=1, lr 0.001", 3.2),
        ("fc500-300: LaPerm k=1, SGD .9, lr 0.1", 0.5),
        ("fc500-300: LaPerm k=1, SGD .9, lr 1", 6.4),
        ("lenet5: LaPerm k=1, SGD .9, lr 0.1", 1.9),
    ):
        assert best[arm.partition(":")[0]] - found[arm] == pytest.approx(behind, abs=0.05), arm
    assert best["fc500-300"] == found["fc500-300: index per layer"]
    longer = [found[f"fc500-300: LaPerm k=1, lr {lr}"] for lr in ("0.003", "0.01", "0.03")]
    assert longer == sorted(longer, reverse=True)
    on_test = means("open-k1")
    of_methods = [
        on_test[f"lenet5: {arm}"]
        for arm in (
            "LaPerm k=1, lr 0.03",
            "Adam, lr 0.003",
            "LaPerm k=20, lr 0.01",
            "index per layer, lr 0.01",
        )
    ]
    assert 98.865 < min(of_methods) < max(of_methods) < 98.925
    assert found["lenet5: LaPerm k=1, SGD .9, lr 1"] < 12
    assert [
        round(row["validation_percent"])
        for row in read_csv(results_file(RESULTS, "open-k1", "paper"))
        if row["arm"] == "lenet5: LaPerm k=1, lr 0.001"
    ] == [40, 27]


def best_of(found: dict[str, float], start: str) -> float:
    return max(value for arm, value in found.items() if arm.startswith(start))


def test_many_zeros() -> None:
    found = means("open-sparse", column="validation_percent")
    scales = ("sparse fans", "smallest are zero")
    below_dense, from_the_same, gain_of_adam = {}, {}, {}
    by_dense_output, below_larger = {}, {}
    for net, zeros in product(("fc500-300", "lenet5"), ("90% zeros", "95% zeros")):
        index, adam = (f"{net}: {zeros}, {m}" for m in ("index per layer", "Adam, zeros frozen"))
        larger = [found[f"{index}, {scale}"] for scale in scales]
        assert min(larger) > best_of(found, f"{net}: {zeros}, Adam")
        assert (found[index] > found[adam]) == ((net, zeros) == ("fc500-300", "90% zeros"))
        dense = found[f"{net}: dense, index per layer"]
        for scale in scales:
            case = net, zeros, scale
            below_dense[case] = dense - found[f"{index}, {scale}"]
            from_the_same[case] = found[f"{index}, {scale}"] - found[f"{adam}, {scale}"]
            gain_of_adam[case] = found[f"{adam}, {scale}"] - found[adam]
            below_larger[case] = found[f"{index}, {scale}"] - found[f"{index}, dense output"]
        by_dense_output[net, zeros] = [
            found[f"{index}, dense output"] - found[index],
            found[f"{index}, dense output"] - found[f"{adam}, dense output"],
        ]
        laperm = [v for arm, v in found.items() if arm.startswith(f"{net}: {zeros}, LaPerm")]
        assert found[f"{net}: dense, LaPerm k=250"] - max(laperm) > 6.95
        assert net == "fc500-300" or max(laperm) < 20
    assert ends(below_dense, "fc500-300", "90% zeros") == near(0.6, 0.6)
    assert ends(below_dense, "fc500-300", "95% zeros") == near(0.9, 1.3)
    assert ends(below_dense, "lenet5", "90% zeros") == near(2.0, 2.3)
    assert ends(below_dense, "lenet5", "95% zeros") == near(5.0, 6.0)
    assert ends(from_the_same, "fc500-300") == near(1.5, 2.9)
    assert ends(from_the_same, "lenet5") == near(2.9, 12.4)
    assert max(gain_of_adam.values()) == pytest.approx(1.1, abs=0.06)
    losses = {case: value for case, value in gain_of_adam.items() if value < 0}
    assert set(losses) == {("lenet5", zeros, "sparse fans") for zeros in ("90% zeros", "95% zeros")}
    assert ends(losses, "lenet5") == near(-3.2, -0.6)
    assert ends(below_larger, "fc500-300") == near(-0.2, 0.2)
    assert 3.05 < ends(below_larger, "lenet5")[0] < ends(below_larger, "lenet5")[1] < 8.65
    assert by_dense_output["lenet5", "90% zeros"] == pytest.approx([6.9, -1.1], abs=0.06)
    assert by_dense_output["lenet5", "95% zeros"] == pytest.approx([28.8, -4.6], abs=0.06)
    assert [
        round(found[f"{net}: {zeros}, index per neuron"])
        for net, zeros in product(("fc500-300", "lenet5"), ("90% zeros", "95% zeros"))
    ] == [93, 81, 62, 25]


def test_rows_of_many_zeros_on_another_processor() -> None:
    rows = read_csv(results_file(RESULTS, "open-sparse", "paper"))
    other = [row["arm"] for row in rows if row["commit"].startswith(("61374ae", "3cbf481"))]
    assert (len(other), len(rows)) == (32, 108)
    for arm in {row["arm"] for row in rows}:
        is_dense = arm.endswith(("dense, Adam", "dense, index per layer"))
        assert (arm in other) == (is_dense or "zeros frozen, " in arm), arm


def ends(found: dict[tuple[str, str, str], float], *start: str) -> list[float]:
    """The least and the greatest of the cases that begin like that."""
    mine = [value for case, value in found.items() if case[: len(start)] == start]
    return [min(mine), max(mine)]


def near(low: float, high: float) -> list[float]:
    return pytest.approx([low, high], abs=0.06)


def test_more_from_one_shared_value() -> None:
    found = means("open-agnostic")
    latents = {arm: value for arm, value in found.items() if arm[:2] == "f1" and "index" in arm}
    for arm, value in latents.items():
        low, high = (86, 89.5) if "z-scored" in arm else (81, 83)
        assert low < value < high, arm
        assert "z-scored" in arm or value < found[arm.partition(", ")[0] + ", LaPerm k=250"]
    published = "f2: published remaining, LaPerm k=250"
    assert found[f"{published} per layer"] == pytest.approx(79.8, abs=0.05)
    assert found[published] == pytest.approx(72.7, abs=0.05)
    deep = {arm: value for arm, value in found.items() if arm[:2] == "f2"}
    others = [v for arm, v in deep.items() if "LaPerm" in arm and not arm.startswith(published)]
    assert len(others) == 10
    assert max(others) == pytest.approx(69.1, abs=0.05)
    kept = {arm: value for arm, value in deep.items() if "index" in arm}
    assert len(kept) == 12
    assert max(kept.values()) == pytest.approx(53.2, abs=0.05)
    at_chance = [v for arm, v in kept.items() if "layer" in arm and "z-scored" not in arm]
    assert len(at_chance) == 3
    assert max(at_chance) < 11


def test_step_by_step() -> None:
    found = means("open-schedules", column="validation_percent")
    gain = gain_of_steps(found)
    assert len(gain) == 10
    connected = [value for arm, value in gain.items() if arm.startswith("fc")]
    assert max(abs(value) for value in connected) < 0.15
    assert min(connected) < 0 < max(connected)
    start = "from the start"
    all_values = found[f"fc500-300: all values, {start}"]
    lowest = min(v for arm, v in found.items() if arm.startswith("fc") and start in arm)
    lowest_at_end = min(found[arm] for arm in gain if arm.startswith("fc"))
    assert 0.25 < all_values - min(lowest, lowest_at_end) < 0.35
    behind = {arm: -value for arm, value in gain.items() if arm.startswith("lenet5")}
    assert behind.pop("lenet5: 95% zeros, step by step") == pytest.approx(1.4, abs=0.05)
    assert 0.05 < min(behind.values()) < max(behind.values()) < 0.8


def test_with_both_seeds_step_by_step_is_behind_in_four_cases_on_lenet5() -> None:
    rows = read_csv(results_file(RESULTS, "open-schedules", "paper"))
    assert all(row["intact"] for row in rows)
    behind = []
    for seed in (0, 1):
        mine = {row["arm"]: row["validation_percent"] for row in rows if row["seed"] == seed}
        gain = gain_of_steps(mine)
        behind.append({arm for arm in gain if arm.startswith("lenet5") and gain[arm] < 0})
    assert len(behind[0] & behind[1]) == 4


def gain_of_steps(found: dict[str, float]) -> dict[str, float]:
    """Of each arm that goes step by step: how far ahead of the same from the start it ends."""
    return {
        arm: found[arm] - found[arm.replace("step by step", "from the start")]
        for arm in found
        if "step by step" in arm
    }


def test_sgperm_beside_adam() -> None:
    authors = "SGPerm, authors' code"
    for data, after_800, of_authors, z_scored, of_authors_z_scored in (
        ("mnist", (-1.3, -0.5), -0.99, (-0.9, -0.7), -2.49),
        ("fashion", (0.4, 0.7), -0.57, (0.1, 0.5), -1.59),
    ):
        found = means(f"sgperm-fc-{data}")
        for suffix, (low, high), behind in (
            ("", after_800, of_authors),
            (", z-scored", z_scored, of_authors_z_scored),
        ):
            adam = found[f"Adam{suffix}"]
            assert found[authors + suffix] - adam == pytest.approx(behind, abs=0.01)
            for search in ("START", "ANY", "bracket", "pair"):
                assert low < found[f"SGPerm, {search}{suffix}"] - adam < high
        ahead_after_100 = after(f"sgperm-fc-{data}", "100")
        low = {"mnist": 1.8, "fashion": 3.4}[data]
        for search in ("START", "ANY", "bracket", "pair"):
            assert ahead_after_100[f"SGPerm, {search}"] - ahead_after_100["Adam"] > low
    at_400 = after("sgperm-fc-mnist", "400")
    assert all(
        abs(value - at_400["Adam"]) < 0.5 for arm, value in at_400.items() if "z-scored" not in arm
    )


def after(recipe: str, updates: str) -> dict[str, float]:
    """Of each arm, over its seeds: test accuracy after so many updates."""
    found: dict[str, list[float]] = {}
    for row in read_csv(results_file(RESULTS, recipe, "paper")):
        at = dict(each.split("=") for each in row["test_percent_at"].split())
        found.setdefault(row["arm"], []).append(float(at[updates]))
    return {arm: statistics.mean(values) for arm, values in found.items()}


def test_the_plateau_of_the_logistic_net() -> None:
    for updates in ("100", "400", "800"):
        found = after("sgperm-logistic-mnist", updates)
        for arm, value in found.items():
            if arm.startswith("SGPerm") and "z-scored" not in arm:
                assert 84.5 < value < 87.2, arm
    assert all(v > 90 for arm, v in found.items() if "z-scored" in arm)


@pytest.mark.parametrize(
    ("name", "sparser", "in_the_mean", "in_the_norm"),
    [
        ("logistic-mnist", (3.8, 4.2), (2, 3.5), (6, 8)),
        ("fc-mnist", (2.6, 3.6), (4, 8.3), (7.9, 14)),
        ("fc-fashion", (2.6, 3.6), (4, 8.3), (7.9, 14)),
    ],
)
def test_how_sparse_and_strong_the_updates_are(
    name: str,
    sparser: tuple[float, float],
    in_the_mean: tuple[float, float],
    in_the_norm: tuple[float, float],
) -> None:
    changed, mean, norm = (
        means(f"sgperm-{name}", column=column)
        for column in ("changed_fraction", "mean_change", "change_norm")
    )
    is_logistic = name == "logistic-mnist"
    for arm in ("authors' code", "START", "ANY", "bracket", "pair"):
        of = f"SGPerm, {arm}"
        found = changed["Adam"] / changed[of], mean[of] / mean["Adam"], norm[of] / norm["Adam"]
        expected = sparser, in_the_mean, in_the_norm
        if arm == "pair":
            expected = (
                ((9.5, 10.5), (2, 2.2), (6, 6.5)) if is_logistic else ((6.5, 7.2), (2.4, 3), (6, 7))
            )
        for value, (low, high) in zip(found, expected, strict=True):
            assert low < value < high, arm
