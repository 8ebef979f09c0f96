"""The text of docs/speed.md, its numbers from results/benchmarks/."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks"

HEAD = """# Speed

Made by `make tables` from `results/benchmarks/`, which the scripts in `benchmarks/` write. Numbers
are medians, with quartiles in brackets. Ratios compare ways that took turns in one process.
"""


def speed_page() -> str:
    parts = [HEAD]
    for name, section in SECTIONS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text())
            parts.append(f"{section(result)}\n{_machine(name, result['machine'])}")
    return "\n".join(parts)


def _synchronize(result: dict[str, Any]) -> str:
    synchronizations = [
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
    columns = ("net", "granularity", "weights", "M weights/s", *others)
    steps = [
        (
            row["net"],
            row["batch_size"],
            row["method"],
            _spread(row["milliseconds_per_step"]),
            _spread(row["ratio_to_plain"]),
        )
        for row in result["steps"]
    ]
    return f"""## One synchronisation

Weights after 20 steps of Adam are arranged and written into the parameters. The last two columns
are the other way's time by ours: above 1, ours is faster. `argsort of argsort+gather` is the
algorithm of Train by Reconnect's authors.

{_table(columns, synchronizations)}
## A whole training step

Forward, backward, optimizer. The last column is the time by that of plain Adam: 1.05 means that
permuting adds 5%.

{_table(("net", "batch", "method", "ms per step", "by plain Adam"), steps)}"""


def _arrange_kernel(result: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['length']:,}",
            row["threads"],
            _spread(row["millions_of_weights_per_second"]["ours"]),
            *(_spread(spread) for spread in row["ratios"].values()),
            f"{_worst(row['hard_inputs'])[1]:.2f} ({_worst(row['hard_inputs'])[0]})",
        )
        for row in result["rows"]
    ]
    others = list(max((row["ratios"] for row in result["rows"]), key=len))
    rows = [row if len(row) == len(others) + 4 else (*row[:-1], "", row[-1]) for row in rows]
    return f"""## The compiled kernel, by length of the vectors

`from the last order` is a warm start, which we measured and did not take. The worst hard input
(reversed, constant, ties, sawtooth, outliers, heavy tails, clusters) is by its time to that of
ordinary weights.

{_table(("length", "threads", "M weights/s", *others, "worst hard input"), rows)}"""


def _training_loop(result: dict[str, Any]) -> str:
    loops = [
        (
            row["net"],
            row["batch_size"],
            _spread(row["milliseconds_per_step"]),
            _spread({key: 100 * value for key, value in row["share_outside"].items()}),
        )
        for row in result["loops"]
    ]
    ways = [
        (row["net"], row["way"], _spread(row["milliseconds_per_step"]), _spread(row["speed_up"]))
        for row in [*result["options"], *result["memory"]]
    ]
    return f"""## The training loop

An epoch of `permtrain train` by the index optimizer per neuron; what it spends outside of forward,
backward and optimizer, on data, augmentation and records.

{_table(("net", "batch", "ms per step", "% outside the network"), loops)}
Options of a bare step by plain Adam; a speed-up above 1 pays. `permtrain train` keeps freed memory
and puts the images of our convolutional nets channels last; `--compile` and `--autocast bfloat16`
are options. bfloat16 is slow on processors without instructions for it, such as this one.

{_table(("net", "way", "ms per step", "speed-up"), ways)}"""


def _keras_comparison(result: dict[str, Any]) -> str:
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
    version = next(iter(result["settings"]["facts"].values()))["tensorflow"]
    steps = result["settings"]["steps"]
    return f"""## LaPerm in TensorFlow

The same nets (their logits agree), batches of 50, TensorFlow {version}. `fit` is Keras with the
authors' set-up (ImageDataGenerator, ranks by argsort of argsort in a callback), `loop` a plain
`tf.function` of our own. The last column is the time by ours: above 1, ours is faster. A round
is {steps["conv7"]} steps of conv7, two of which synchronise (k=20), and {steps["conv4"]} of conv4,
none of which does (k=1000).

{_table(("net", "way", "ms per step", "s an epoch", "by ours"), rows)}"""


def _codec(result: dict[str, Any]) -> str:
    ways = [
        (
            row["way"],
            f"{row['bits_per_weight']:.4f}",
            *("" if row[key] is None else f"{row[key]:.2f}" for key in ("encode_s", "decode_s")),
        )
        for row in result["measured"]
        if "constriction" not in row["way"]
    ]
    beside = result["constriction_beside_ours"]
    small = [
        (
            name,
            f"{row['bits_per_weight']:.4f}",
            *(f"{1e3 * row[key]:.2f}" for key in ("encode_s", "decode_s")),
        )
        for name, row in beside.items()
        if name != "num_weights"
    ]
    trained = [
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
    columns = ("net", "born", "trained by", "test", "limit", "codes", "codes to limit", "file")
    return f"""## The packed file

ResNet-50's shapes, {result["num_weights"]:,} weights, a random permutation per neuron: the limit
is {result["limit_bits_per_weight"]:.4f} bits a weight. One thread, each way once. `part`: zstd and
xz had some tensors only.

{_table(("way", "bits a weight", "encode s", "decode s"), ways)}
The range coder of `constriction`, given the digits, on {beside["num_weights"]:,} of these weights:

{_table(("coder", "bits a weight", "encode ms", "decode ms"), small)}
Trained nets, in bytes; the limit is log2(n!/prod m!) of their arrangements. The conditional coder
was made better on these nets, so they are not new to it.

{_table(columns, trained)}"""


def _born(initial: dict[str, Any]) -> str:
    """The initial values of a net in a few words."""
    levels = f"{initial['levels']} levels" if initial["levels"] else "dense"
    return f"{levels}, {initial['sparsity']:.0%} zeros" if initial["sparsity"] else levels


def _sgperm(result: dict[str, Any]) -> str:
    searches = [
        (
            row["search"],
            f"{row['aggressiveness']}, {row['partition_ratio']:g}",
            row["threads"],
            _spread(row["nanoseconds_per_weight"]),
            _spread(row["ratio_to_forward_backward"]),
            goal if (goal := SGPERM_GOALS.get(row["search"])) else "",
        )
        for row in result["searches"]
        if row["rows"] == "fc500-300" and row["sparsity"] == 0 and row["aggressiveness"] != 0.07
    ]
    updates = [
        (
            row["optimizer"],
            row["settings"],
            row["threads"],
            _spread(row["milliseconds"]),
            _spread(row["ratio_to_forward_backward"]),
        )
        for row in result["updates"]
    ]
    by_length: dict[tuple[str, str], list[str]] = {}
    lengths = []
    for row in result["searches"]:
        if row["rows"] == "fc500-300" or row["threads"] != 1:
            continue
        cut = "no partition" if row["partition_ratio"] is None else f"{row['partition_ratio']:g}"
        way = f"{cut}, {row['sparsity']:.0%} zeros"
        median = row["nanoseconds_per_weight"]["median"]
        by_length.setdefault((row["search"], way), []).append(f"{median:.3g}")
        if row["rows"] not in lengths:
            lengths.append(row["rows"])
    agreement = result["agreement_of_bracket_with_any"]
    seconds = result["first_call_seconds"]
    return f"""## SGPerm

Finding the permutation of `fc500-300`'s rows, by the time of forward and backward on 64 images:
2 means that it takes twice as long. `goal` is what we set out to reach on one thread.

{_table(("search", "alpha, lambda", "threads", "ns per weight", "by fwd+bwd", "goal"), searches)}
Whole updates in training: momentum, search, the weights laid out, Adam for the biases.

{_table(("optimizer", "settings", "threads", "ms", "by fwd+bwd"), updates)}
Nanoseconds per weight by length of the rows, one thread: they do not grow.

{_table(("search", "lambda", *lengths), [(*way, *cells) for way, cells in by_length.items()])}
`bracket` puts the same weight as `any` in at least {min(agreement.values()):.2%} of the slots, on
recommendations recorded in {len(agreement)} updates of a training. The first call compiles:
{", ".join(f"{name} {each['cold']:.1f} s" for name, each in seconds.items())}; later processes load
what was compiled in {min(each["from_disk"] for each in seconds.values()):.2f} to
{max(each["from_disk"] for each in seconds.values()):.2f} s."""


SGPERM_GOALS = {"start": "5", "any": "4", "bracket": "1.5", "pair": ".7"}

SECTIONS = {
    "synchronize": _synchronize,
    "arrange_kernel": _arrange_kernel,
    "training_loop": _training_loop,
    "keras_comparison": _keras_comparison,
    "sgperm": _sgperm,
    "codec": _codec,
}


def _worst(hard_inputs: dict[str, dict[str, float]]) -> tuple[str, float]:
    name = max(hard_inputs, key=lambda each: hard_inputs[each]["median"])
    return name, hard_inputs[name]["median"]


def _spread(spread: dict[str, float]) -> str:
    median, low, high = (
        f"{spread[key]:.3g}" for key in ("median", "lower_quartile", "upper_quartile")
    )
    return f"{median} ({low} to {high})"


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _machine(name: str, machine: dict[str, Any]) -> str:
    commit = machine["commit"]
    changed = " with uncommitted changes" if commit.endswith("+") else ""
    return (
        f"`benchmarks/{name}.py`, {machine['begun'][:10]}, commit {commit[:7]}{changed}, "
        f"{machine.get('cpu_model', machine['device'])}, {machine['cores']} cores, load "
        f"{machine['load_average']:.1f} at the beginning, "
        f"{machine['threads']} threads, torch {machine['packages']['torch']}.\n"
    )
