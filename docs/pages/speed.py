"""What docs/speed.md shows of the benchmarks' results."""

import json
from pathlib import Path
from typing import Any

from pages.rendering import RESULTS, markdown_table, render

SGPERM_GOALS = {"start": "5", "any": "4", "bracket": "1.5", "pair": ".7"}


def speed_page(results: Path = RESULTS) -> str:
    made = {
        path.stem: json.loads(path.read_text()) for path in (results / "benchmarks").glob("*.json")
    }
    sgperm, codec = made["sgperm"], made["codec"]
    return render(
        "speed.md.jinja",
        results,
        made=made,
        machine=lambda name: _machine(name, made[name]["machine"]),
        synchronizations=_synchronizations(made["synchronize"]),
        steps=_steps(made["synchronize"]),
        lengths=_lengths(made["arrange_kernel"]),
        loops=_loops(made["training_loop"]),
        options=_options(made["training_loop"]),
        keras=_keras(made["keras_comparison"]),
        searches=_searches(sgperm),
        updates=_updates(sgperm),
        by_length=_by_length(sgperm),
        coders=_coders(codec),
        beside=_beside(codec),
        trained=_trained(codec),
    )


def _synchronizations(result: dict[str, Any]) -> str:
    rows = [
        (
            row["net"],
            row["granularity"],
            f"{row['num_weights']:,}",
            _spread(row["millions_of_weights_per_second"]),
            *(_spread(spread) for spread in row["ratios"].values()),
        )
        for row in result["synchronizations"]
    ]
    others = result["synchronizations"][0]["ratios"]
    return _table(("net", "granularity", "weights", "M weights/s", *others), rows)


def _steps(result: dict[str, Any]) -> str:
    rows = [
        (
            row["net"],
            row["batch_size"],
            row["method"],
            _spread(row["milliseconds_per_step"]),
            _spread(row["ratio_to_plain"]),
        )
        for row in result["steps"]
    ]
    return _table(("net", "batch", "method", "ms per step", "by plain Adam"), rows)


def _lengths(result: dict[str, Any]) -> str:
    others = list(max((row["ratios"] for row in result["rows"]), key=len))
    rows = [
        (
            f"{row['length']:,}",
            row["threads"],
            _spread(row["millions_of_weights_per_second"]["ours"]),
            *(_spread(row["ratios"][way]) if way in row["ratios"] else "" for way in others),
            _worst(row["hard_inputs"]),
        )
        for row in result["rows"]
    ]
    return _table(("length", "threads", "M weights/s", *others, "worst hard input"), rows)


def _worst(hard_inputs: dict[str, dict[str, float]]) -> str:
    name = max(hard_inputs, key=lambda each: hard_inputs[each]["median"])
    return f"{hard_inputs[name]['median']:.2f} ({name})"


def _loops(result: dict[str, Any]) -> str:
    rows = [
        (
            row["net"],
            row["batch_size"],
            _spread(row["milliseconds_per_step"]),
            _spread({key: 100 * value for key, value in row["share_outside"].items()}),
        )
        for row in result["loops"]
    ]
    return _table(("net", "batch", "ms per step", "% outside the network"), rows)


def _options(result: dict[str, Any]) -> str:
    rows = [
        (row["net"], row["way"], _spread(row["milliseconds_per_step"]), _spread(row["speed_up"]))
        for row in [*result["options"], *result["memory"]]
    ]
    return _table(("net", "way", "ms per step", "speed-up"), rows)


def _keras(result: dict[str, Any]) -> str:
    rows = [
        (
            row["net"],
            row["way"],
            _spread(row["milliseconds_per_step"]),
            f"{row['seconds_per_epoch']:.0f}",
            _spread(row["ratio_to_ours"]),
        )
        for row in result["rows"]
    ]
    return _table(("net", "way", "ms per step", "s an epoch", "by ours"), rows)


def _searches(result: dict[str, Any]) -> str:
    rows = [
        (
            row["search"],
            f"{row['aggressiveness']}, {row['partition_ratio']:g}",
            row["threads"],
            _spread(row["nanoseconds_per_weight"]),
            _spread(row["ratio_to_forward_backward"]),
            SGPERM_GOALS.get(row["search"], ""),
        )
        for row in result["searches"]
        if row["rows"] == "fc500-300" and row["sparsity"] == 0 and row["aggressiveness"] != 0.07
    ]
    return _table(
        ("search", "alpha, lambda", "threads", "ns per weight", "by fwd+bwd", "goal"), rows
    )


def _updates(result: dict[str, Any]) -> str:
    rows = [
        (
            row["optimizer"],
            row["settings"],
            row["threads"],
            _spread(row["milliseconds"]),
            _spread(row["ratio_to_forward_backward"]),
        )
        for row in result["updates"]
    ]
    return _table(("optimizer", "settings", "threads", "ms", "by fwd+bwd"), rows)


def _by_length(result: dict[str, Any]) -> str:
    found = [r for r in result["searches"] if r["rows"] != "fc500-300" and r["threads"] == 1]
    cells: dict[tuple[str, str], list[str]] = {}
    for row in found:
        cut = "no partition" if row["partition_ratio"] is None else f"{row['partition_ratio']:g}"
        way = row["search"], f"{cut}, {row['sparsity']:.0%} zeros"
        cells.setdefault(way, []).append(f"{row['nanoseconds_per_weight']['median']:.3g}")
    lengths = dict.fromkeys(row["rows"] for row in found)
    return _table(("search", "lambda", *lengths), [(*way, *each) for way, each in cells.items()])


def _coders(result: dict[str, Any]) -> str:
    rows = [
        (
            row["way"],
            f"{row['bits_per_weight']:.4f}",
            *("" if row[key] is None else f"{row[key]:.2f}" for key in ("encode_s", "decode_s")),
        )
        for row in result["measured"]
        if "constriction" not in row["way"]
    ]
    return _table(("way", "bits a weight", "encode s", "decode s"), rows)


def _beside(result: dict[str, Any]) -> str:
    rows = [
        (
            name,
            f"{row['bits_per_weight']:.4f}",
            *(f"{1e3 * row[key]:.2f}" for key in ("encode_s", "decode_s")),
        )
        for name, row in result["constriction_beside_ours"].items()
        if name != "num_weights"
    ]
    return _table(("coder", "bits a weight", "encode ms", "decode ms"), rows)


def _trained(result: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['net']} on {row['data']}",
            _born(row["initial"]),
            f"{row['method']}, lr {row['lr']}, {row['epochs']} epochs",
            f"{row['test_accuracy']:.2%}",
            f"{row['limit_bytes']:,.0f}",
            f"{row['code_bytes']:,}",
            f"{row['code_by_limit'] - 1:+.1%}",
            f"{row['file_bytes']:,}",
        )
        for row in sorted(result["trained"], key=lambda row: -row["file_bytes"])
    ]
    head = ("net", "born", "trained by", "test", "limit", "codes", "codes to limit", "file")
    return _table(head, rows)


def _born(initial: dict[str, Any]) -> str:
    """The initial values of a net in a few words."""
    levels = f"{initial['levels']} levels" if initial["levels"] else "dense"
    return f"{levels}, {initial['sparsity']:.0%} zeros" if initial["sparsity"] else levels


def _spread(spread: dict[str, float]) -> str:
    median, low, high = (
        f"{spread[key]:.3g}" for key in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median} ({low} to {high})"


def _table(head: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> str:
    return markdown_table([*map(str, head)], [[*map(str, row)] for row in rows])


def _machine(name: str, machine: dict[str, Any]) -> str:
    commit = machine["commit"]
    changed = " with uncommitted changes" if commit.endswith("+") else ""
    return (
        f"`benchmarks/{name}.py`, {machine['begun'][:10]}, commit {commit[:7]}{changed}, "
        f"{machine.get('cpu_model', machine['device'])}, {machine['cores']} cores, load "
        f"{machine['load_average']:.1f} at the beginning, "
        f"{machine['threads']} threads, torch {machine['packages']['torch']}."
    )
