"""The benchmark of the coders runs, and writes what it says; how fast anything is, is not asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from run_problem import place_in, tiny

from permtrain.lab.training.run import start_run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "codec.py"


def test_the_benchmark_writes_what_it_measured(tmp_path: Path) -> None:
    pytest.importorskip("constriction")
    pytest.importorskip("zstandard")
    run = start_run(tiny(epochs=1), place_in(tmp_path / "runs")).folder
    output = tmp_path / "codec.json"
    command = [sys.executable, "-W", "error", str(SCRIPT), "--quick", "--output", str(output)]
    done = subprocess.run([*command, "--runs", str(run)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads(output.read_text())
    assert written["num_weights"] == 64 * 147 + 64 * 64 + 64 * 576 + 256 * 64
    bits = {each["way"]: each["bits_per_weight"] for each in written["measured"]}
    limit = written["limit_bits_per_weight"]
    assert limit <= bits["uniform"] < 1.001 * limit
    assert bits["uniform"] < bits["fixed width"] < bits["xz -6 of float32 (part)"]
    beside = written["constriction_beside_ours"]
    theirs, ours = beside["constriction"]["bits_per_weight"], beside["ours"]["bits_per_weight"]
    assert ours == pytest.approx(theirs, rel=0.001)
    (trained,) = written["trained"]
    assert trained["file_bytes"] == (run / "packed.safetensors").stat().st_size
    assert trained["tensors"][-1]["name"] == "output.weight"
