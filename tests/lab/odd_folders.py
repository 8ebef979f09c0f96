"""Run folders as accidents, other programs and foes leave them: a table of what is done to one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path], None]

DEEP = "[" * 100_000 + "]" * 100_000
HUGE = 10**400


def text(name: str, content: str | bytes) -> Damage:
    """The whole file holds this."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def with_value(name: str, value: Any, *keys: str) -> Damage:
    """A value inside a JSON object is another one."""

    def damage(folder: Path) -> None:
        plain = json.loads((folder / name).read_text())
        inner = plain
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (folder / name).write_text(json.dumps(plain))

    return damage


def without(name: str, *keys: str) -> Damage:
    def damage(folder: Path) -> None:
        plain = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({k: v for k, v in plain.items() if k not in keys}))

    return damage


def in_record(value: Any, key: str) -> Damage:
    """A value in the first line of the record is another one."""

    def damage(folder: Path) -> None:
        first, *others = (folder / "metrics.jsonl").read_text().splitlines()
        lines = [json.dumps(json.loads(first) | {key: value}), *others]
        (folder / "metrics.jsonl").write_text("\n".join(lines))

    return damage


def shorter_record(folder: Path) -> None:
    others = (folder / "metrics.jsonl").read_text().splitlines()[1:]
    (folder / "metrics.jsonl").write_text("\n".join(['{"epoch": 1}', *others]))


def no_file(name: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def a_folder(name: str) -> Damage:
    """A folder stands where the file was."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def a_file(name: str) -> Damage:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder / name)
        (folder / name).write_text("")

    return damage


def dangling(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder / "nowhere")

    return damage


def checkpoint(name: str, content: bytes) -> Damage:
    return text(f"checkpoints/{name}", content)


ODD: dict[str, Damage] = {
    **{
        f"{name}: {kind}": text(name, content)
        for name in ("settings.json", "place.json", "environment.json", "result.json")
        for kind, content in {
            "empty": "", "null": "null", "list": "[]", "string": '"text"', "object": "{}",
            "deep": DEEP, "not UTF-8": b"\xff\xfe{}", "huge number": f'{{"epochs": {HUGE}}}',
            "5000 digits": f'{{"seed": 1{"0" * 5000}}}',
        }.items()
    },
    **{
        f"metrics.jsonl: {kind}": text("metrics.jsonl", content)
        for kind, content in {
            "empty": "", "null": "null\n", "list": "[]\n", "empty object": "{}\n", "deep": DEEP,
            "not UTF-8": b"\xff\xfe{}\n", "cut off": '{"epoch": 1, "ste',
        }.items()
    },
    **{
        f"metrics.jsonl: {key} is {str(value)[:9]!r}": in_record(value, key)
        for key in ("epoch", "test_accuracy", "wall_s", "train_loss")
        for value in ("text", None, [], HUGE, float("nan"), -1, True)
    },
    "metrics.jsonl: keys missing": shorter_record,
    **{
        f"result.json: {key} is {str(value)[:9]!r}": with_value("result.json", value, key)
        for key in ("test_accuracy", "travel", "intact", "verification", "evaluations", "epochs")
        for value in ("text", [1], {"a": 1}, float("nan"))
    },
    "result.json: no accuracy": without("result.json", "test_accuracy"),
    "result.json: unknown key": with_value("result.json", 1, "unknown"),
    "result.json: travel of text": with_value("result.json", "far", "travel", "moved_fraction"),
    **{
        f"environment.json: {key} is {str(value)[:9]!r}": with_value("environment.json", value, key)
        for key in ("packages", "threads", "resumed")
        for value in ("text", None, [1], {"a": {"b": []}})
    },
    **{
        f"place.json: {key} is {str(value)[:9]!r}": with_value("place.json", value, key)
        for key in ("data_folder", "threads", "device")
        for value in (3, [1], {"a": 1}, "x" * 5000, "a\0b", "\ud800")
    },
    **{
        f"settings.json: data is {str(value)[:9]!r}": with_value(
            "settings.json", value, "data", "data"
        )
        for value in (3, None, [], {}, "", "x" * 5000, "a\0b", "\ud800", "\x1b[31m", "/dev/null")
    },
    **{
        f"settings.json: {keys[-1]} is {str(value)[:9]!r}": with_value(
            "settings.json", value, *keys
        )
        for keys in (("permutation",), ("permutation", "method"), ("initial", "layer_sparsity"),
                     ("optimizer", "inner"), ("optimizer", "inner_options"), ("evaluate_at",),
                     ("model",))
        for value in (3, None, ["a", []], {"a": {"b": 1}}, "\ud800")
    },
    **{
        f"{name}: a folder": a_folder(name)
        for name in ("settings.json", "place.json", "environment.json", "metrics.jsonl",
                     "result.json", "packed.safetensors", "weights.safetensors",
                     "checkpoints/step-000000015.pt")
    },
    **{
        f"{name}: a dangling link": dangling(name)
        for name in ("settings.json", "metrics.jsonl", "result.json", "ranking.jsonl",
                     "packed.safetensors", "weights.safetensors", "checkpoints/step-000000015.pt",
                     "checkpoints/step-000000099.pt")
    },
    **{
        f"{name}: gone": no_file(name)
        for name in ("place.json", "environment.json", "metrics.jsonl", "weights.safetensors",
                     "checkpoints", "settings.json")
    },
    **{
        f"{name}: other bytes": text(name, b"\xff" * 16)
        for name in ("packed.safetensors", "weights.safetensors")
    },
    "checkpoints: a file": a_file("checkpoints"),
    "checkpoints: odd name": checkpoint("step-abc.pt", b"1"),
    "checkpoints: one more": checkpoint("step-000000016.pt", b"PK"),
    "checkpoints: empty": checkpoint("step-000000015.pt", b""),
    "ranking.jsonl: odd": text("ranking.jsonl", "null\n"),
}  # fmt: skip

SHOWN = {
    "settings.json: object", "place.json: object", "environment.json: object",
    "metrics.jsonl: train_loss is 'nan'", "metrics.jsonl: train_loss is '-1'",
    "metrics.jsonl: train_loss is 'None'",  # no number, as JSON has it
    "result.json: verification is 'text'",
    *(f"place.json: data_folder is {value}" for value in ("'xxxxxxxxx'", r"'a\x00b'")),
    *(f"place.json: device is {value}" for value in ("'xxxxxxxxx'", r"'a\x00b'", r"'\ud800'")),
    "place.json: threads is '3'",
    *(f"settings.json: data is {value}" for value in
      ("''", "'xxxxxxxxx'", r"'a\x00b'", r"'\ud800'", r"'\x1b[31m'", "'/dev/null'")),
    r"settings.json: inner is '\ud800'", r"settings.json: model is '\ud800'",
    *(f"{name}: a folder" for name in
      ("place.json", "environment.json", "result.json", "packed.safetensors",
       "weights.safetensors", "checkpoints/step-000000015.pt")),
    *(f"{name}: a dangling link" for name in
      ("result.json", "ranking.jsonl", "packed.safetensors", "weights.safetensors",
       "checkpoints/step-000000015.pt", "checkpoints/step-000000099.pt")),
    *(f"{name}: gone" for name in
      ("place.json", "environment.json", "weights.safetensors", "checkpoints")),
    "packed.safetensors: other bytes", "weights.safetensors: other bytes",
    *(f"checkpoints: {of}" for of in ("a file", "odd name", "one more", "empty")),
    "ranking.jsonl: odd",
}  # fmt: skip
"""Those that a page is made of, with a note where something could not be looked at."""
