"""Long attacks on packed files, too long for the tests. From the checkout:

    python tests/packed/attack.py mutants --count 100000     # for each coder; minutes
    python tests/packed/attack.py fuzz --inputs 1000000      # some ten minutes
    python tests/packed/attack.py kill --times 200           # a minute

Each prints what it did, and ends with an error if anything went wrong.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

from packed.mutants import mutants, repaired
from packed.nets import NETS
from permtrain import PackedFile
from permtrain.errors import PackedFileError
from permtrain.packed.entries import CODERS
from permtrain.packed.model import tensors_of
from permtrain.packed.writer import packed_bytes

MUTATED = ["per neuron", "three levels, sparse", "few levels, unborn", "bfloat16, unborn", "mixed"]
ARRANGED = [coder for coder in CODERS if coder not in ("raw", "initial")]


def file_of(net: str, coder: str) -> bytes:
    return packed_bytes(tensors_of(NETS[net](), None, None), coders=(coder,))


def run_mutants(count: int = 100_000, seed: int = 0) -> None:
    """Flip, cut, swap and edit; every mutant has to be refused.

    Args:
        count: Mutants for each coder.
        seed: Another one makes other mutants.
    """
    for coder in ARRANGED:
        num_refused = 0
        for number, net in enumerate(MUTATED):
            data = file_of(net, coder)
            for what, mutant in mutants(data, count // len(MUTATED), seed + number):
                try:
                    PackedFile(mutant).all_bits(threads=1)
                except PackedFileError:
                    num_refused += 1
                else:
                    sys.exit(f"{coder}, {net}: read in spite of {what}")
        print(f"{coder}: {num_refused} of {num_refused} mutants refused")


EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 3), st.binary(max_size=6)), max_size=4
)
BASES = [file_of(net, coder) for net in MUTATED for coder in ARRANGED]


@settings(database=None, deadline=None)
@given(st.integers(0, len(BASES) - 1), EDITS, st.booleans())
def target(base: int, edits: list[tuple[int, int, bytes]], repair: bool) -> None:
    """Any bytes are refused by a `PackedFileError`, or read as arrays of the shapes they claim.

    Edits replace, insert or remove bytes anywhere; half of the files get checksums that fit again,
    so that what lies behind these is reached.
    """
    data = bytearray(BASES[base])
    for place, num_removed, added in edits:
        place %= len(data) + 1
        data[place : place + num_removed] = added
    mutant = repaired(bytes(data)) if repair else bytes(data)
    try:
        file = PackedFile(mutant)
    except PackedFileError:
        return
    for name in file:
        try:
            assert file.bits(name).shape == file.entry(name).shape
        except PackedFileError:
            continue


def run_fuzz(inputs: int = 1_000_000, seed: int = 0) -> None:
    """Feed the Hypothesis target with random bytes.

    Args:
        inputs: How many.
        seed: Another one makes other inputs.
    """
    source = random.Random(seed)
    feed = target.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    slowest = 0.0
    num_taken = 0
    begun = time.perf_counter()
    for _ in range(inputs):
        before = time.perf_counter()
        num_taken += feed(source.randbytes(source.choice((40, 80, 160)))) is not None
        slowest = max(slowest, time.perf_counter() - before)
    seconds = time.perf_counter() - begun
    print(
        f"{inputs} inputs in {seconds:.0f} s, {num_taken} of them long enough for the strategy: "
        f"no crash; the slowest took {slowest * 1e3:.0f} ms"
    )


WRITER = """
import sys
from pathlib import Path
from permtrain.files import written_whole
path, size = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
number = 0
while True:
    with written_whole(path) as file:
        for _ in range(size):
            file.write(bytes([number % 256]) * 4096)
    number += 1
"""


def run_kill(times: int = 200, seed: int = 0) -> None:
    """Kill a process that overwrites a file again and again, at a random moment.

    After each kill the file is whole; after the next write nothing is left beside it.

    Args:
        times: Kills.
        seed: Another one kills at other moments.
    """
    source = random.Random(seed)
    num_left_over = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for number in range(times):
            command = [sys.executable, "-c", WRITER, str(path), "256"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                while not path.exists():
                    time.sleep(0.001)
                time.sleep(source.uniform(0.0, 0.05))
                os.kill(writer.pid, signal.SIGKILL)
            held = np.frombuffer(path.read_bytes(), np.uint8)
            if len(held) != 256 * 4096 or held.min() != held.max():
                sys.exit(f"kill {number}: the file is damaged")
            left_over = len(os.listdir(folder)) - 1
            num_left_over += left_over
            if left_over > 1:
                sys.exit(f"kill {number}: {left_over} files left beside; allowed: the last one's")
    print(
        f"{times} kills: the file was whole each time; {num_left_over} kills left a file beside, "
        "each removed by the next writer"
    )


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"mutants": run_mutants, "fuzz": run_fuzz, "kill": run_kill}
    )
