"""Long attacks on packed files, and with other files of foes. From the checkout:

    python tests/packed/attack.py mutants --count 100000     # for each coder; minutes
    python tests/packed/attack.py fuzz --inputs 1000000      # some ten minutes
    python tests/packed/attack.py readers --inputs 10000     # compiled against plain; minutes
    python tests/packed/attack.py kill --times 200           # a minute
    python tests/packed/attack.py foreign                    # minutes

Each prints what it did, with `--output` writes it to a file too, and ends with an error if anything
went wrong.
"""

import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

from packed.foreign import KINDS, SECRET, Foreign, cells_that_are_formulas
from packed.mutants import mutants, recoded, repaired
from packed.nets import NETS
from packed.readers import READERS, outcomes, with_fitting_digests
from permtrain import PackedFile
from permtrain.errors import PackedFileError
from permtrain.packed.model import tensors_of
from permtrain.packed.writer import ORDER_CODERS, packed_bytes

MUTATED = ["per neuron", "three levels, sparse", "few levels, unborn", "bfloat16, unborn", "mixed"]


def file_of(net: str, coder: str) -> bytes:
    return packed_bytes(tensors_of(NETS[net](), "any", None), coders=(coder,))


def report(output: Path | None, attack: str, found: dict[str, Any]) -> None:
    """Prints what an attack found, and puts it into the file beside that of others."""
    print(f"{attack}: {json.dumps(found)}", flush=True)
    if output is not None:
        known = json.loads(output.read_text()) if output.exists() else {}
        known[attack] = found
        output.write_text(json.dumps(known, indent=2) + "\n")


def run_mutants(count: int = 100_000, seed: int = 0, output: Path | None = None) -> None:
    """Flip, cut, swap and edit; every mutant has to be refused.

    Args:
        count: Mutants for each coder.
        seed: Another one makes other mutants.
        output: A JSON file to write the counts to.
    """
    refused = {}
    for coder in ORDER_CODERS:
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
        refused[coder] = num_refused
    report(output, "mutants", {"seed": seed, "refused": refused, "read": 0})


PLAN_BYTES = b"0123456789abcdefgstuvxAZ-_.=*: "
BASES = [file_of(net, coder) for net in MUTATED for coder in ORDER_CODERS]


def edited(plan: bytes) -> bytes:
    """One of the bases, edited as some bytes say.

    The first byte chooses the base, and whether the checksums are made to fit in the end. An edit
    is two bytes for its place, one for how many bytes go (3 at most) and how many come (7 at
    most), and those that come; in the header they are made characters of plans.
    """
    data = bytearray(BASES[plan[0] % len(BASES)])
    begin = 8 + int.from_bytes(data[:8], "little")
    edits = io.BytesIO(plan[1:])
    while len(head := edits.read(3)) == 3:
        place = int.from_bytes(head[:2]) % (len(data) + 1)
        added = edits.read(head[2] // 4 % 8)
        if 8 <= place < begin:
            added = bytes(PLAN_BYTES[byte % len(PLAN_BYTES)] for byte in added)
        data[place : place + head[2] % 4] = added
    return repaired(bytes(data)) if plan[0] >= 128 else bytes(data)


@settings(database=None, deadline=None)
@given(st.binary(min_size=6, max_size=32))
def target(plan: bytes) -> None:
    """Any bytes are refused by a `PackedFileError`, or read as arrays of the shapes they claim."""
    try:
        file = PackedFile(edited(plan))
    except PackedFileError:
        return
    for name in file:
        try:
            assert file.bits(name).shape == file.entry(name).shape
        except PackedFileError:
            continue


def run_readers(inputs: int = 10_000, seed: int = 0, output: Path | None = None) -> None:
    """Give files whose checksums fit to the compiled reader and to the plain one.

    Codes are replaced by random ones, which begin with bytes 0xFF, 0x00 or others, or a header is
    edited. Checksums are made to fit, the tensors' digests too: to what either reader makes of the
    codes. Both have to give the same bits, or refuse the same tensors.

    Args:
        inputs: How many files, before their digests are made to fit.
        seed: Another one makes other files.
        output: A JSON file to write the counts to.
    """
    source = random.Random(seed)
    counts = dict.fromkeys(("inputs", "files", "read", "refused"), 0)
    for number in range(inputs):
        if number % 2:
            data = recoded(source.choice(BASES), source)
        else:
            data = edited(bytes([source.randrange(128, 256)]) + source.randbytes(16))
        counts["inputs"] += 1
        for reader in READERS.values():
            fitting = with_fitting_digests(data, reader)
            compiled, plain = (outcomes(fitting, each) for each in READERS.values())
            if compiled != plain:
                sys.exit(f"input {number}: compiled {compiled!r:.500}, plain {plain!r:.500}")
            counts["files"] += 1
            counts["read"] += sum(isinstance(found, bytes) for found in compiled.values())
            counts["refused"] += sum(isinstance(found, str) for found in compiled.values())
    report(output, "readers", {"seed": seed} | counts)


CHUNK = 10_000


def run_fuzz(
    inputs: int = 1_000_000, seed: int = 0, output: Path | None = None, resume: bool = False
) -> None:
    """Feed the Hypothesis target with random bytes.

    Args:
        inputs: How many.
        seed: Another one makes other inputs.
        output: A JSON file to write the counts to, every 10,000 inputs.
        resume: Go on from what the file says.
    """
    feed = target.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
    found = {"seed": seed, "inputs": 0, "long_enough": 0, "seconds": 0.0, "slowest_seconds": 0.0}
    if resume and output is not None:
        found = json.loads(output.read_text())["fuzz"]
    while found["inputs"] < inputs:
        source = random.Random(f"{found['seed']} {found['inputs']}")
        for _ in range(min(CHUNK, inputs - int(found["inputs"]))):
            given_bytes = source.randbytes(source.choice((40, 80)))
            begun = time.process_time()  # a machine's other work is no hang
            found["long_enough"] += feed(given_bytes) is not None
            seconds = time.process_time() - begun
            found["inputs"] += 1
            found["seconds"] += seconds
            found["slowest_seconds"] = max(found["slowest_seconds"], seconds)
        report(output, "fuzz", found)


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


def run_kill(times: int = 200, seed: int = 0, output: Path | None = None) -> None:
    """Kill a process that overwrites a file again and again, at a random moment.

    After each kill the file is whole; after the next write nothing is left beside it.

    Args:
        times: Kills.
        seed: Another one kills at other moments.
        output: A JSON file to write the counts to.
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
    # A file that a killed writer left beside is removed by the next one.
    report(output, "kill", {"kills": times, "whole": times, "left_beside": num_left_over})


MOST_SECONDS = 60.0
"""Of processor time; whoever waits five times as long waits for ever."""
MOST_BYTES = 2 << 30
TRAP = '#!/bin/sh\ntouch "$RAN"\n'


def run_foreign(only: str = "", output: Path | None = None) -> None:
    """Give commands the files of `foreign.KINDS`, each in an empty folder and a process of its own.

    No command ends with a traceback, prints an escape, starts a program (traps of their names come
    first in PATH), tells a secret, waits for ever or takes more than 2 GiB or a minute of one
    processor; what it refuses it refuses in a line.

    Args:
        only: Kinds whose name holds this.
        output: A JSON file to write what was found to.
    """
    found: dict[str, Any] = {"kinds": 0, "commands": 0, "refused": 0, "slowest_seconds": 0.0}
    found["largest_bytes"] = 0
    for name, kind in KINDS.items():
        if only not in name:
            continue
        found["kinds"] += 1
        for command in kind.commands:
            with tempfile.TemporaryDirectory() as temporary:
                folder, traps = Path(temporary, "here"), Path(temporary, "traps")
                folder.mkdir()
                kind.make(folder)
                traps.mkdir()
                for program in ("gs", "gswin64c", "sh", "bash", "ffmpeg", "convert"):
                    (traps / program).write_text(TRAP)
                    (traps / program).chmod(0o755)
                outcome = _given_to(command, folder, traps, Path(temporary, "ran"))
            if problem := _problem_of(outcome, kind):
                sys.exit(f"{name}: {command}: {problem}: {outcome.said[-500:]!r}")
            found["commands"] += 1
            found["refused"] += outcome.code != 0
            found["slowest_seconds"] = max(found["slowest_seconds"], round(outcome.seconds, 1))
            found["largest_bytes"] = max(found["largest_bytes"], outcome.most_bytes)
    report(output, "foreign", found)


@dataclass(frozen=True)
class Outcome:
    """What a command did: how it ended, what it said, and what it left and took."""

    code: int | None
    said: str
    ran: bool
    formulas: list[str]
    seconds: float
    most_bytes: int


def _given_to(command: str, folder: Path, traps: Path, ran: Path) -> Outcome:
    environment = os.environ | {
        "PATH": f"{traps}:{os.environ['PATH']}",
        "RAN": str(ran),
        "PERMTRAIN_CACHE": str(traps / "cache"),
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }
    arguments = [sys.executable, "-m", "permtrain.lab.cli.main", *command.split()]
    made = time.time()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            arguments, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        alarm = threading.Timer(5 * MOST_SECONDS, process.kill)
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace")
    has_run = ran.exists() or (folder / "ran").exists()
    seconds = usage.ru_utime + usage.ru_stime
    formulas = cells_that_are_formulas(folder, made)
    return Outcome(process.returncode, text, has_run, formulas, seconds, usage.ru_maxrss << 10)


def _problem_of(outcome: Outcome, kind: Foreign) -> str | None:
    problems = {
        "waits for ever": outcome.code == -signal.SIGKILL,
        "takes too long": outcome.seconds > MOST_SECONDS,
        "ends with a traceback": "Traceback" in outcome.said,
        "ended in an unknown way": outcome.code not in (0, 1),
        "took what is refused elsewhere": outcome.code == 0 and not kind.may_work,
        "refused in more than a line": outcome.code == 1
        and [line[:7] for line in outcome.said.splitlines()][-1:] != ["error: "],
        "prints escapes": any(each in outcome.said for each in ("\x1b", "\u202e", "\x07")),
        "started a program": outcome.ran,
        "tells a secret": SECRET[:8] in outcome.said,
        "wrote formulas": bool(outcome.formulas),
        "took too much memory": outcome.most_bytes > MOST_BYTES,
    }
    return next((problem for problem, is_so in problems.items() if is_so), None)


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {
            "mutants": run_mutants,
            "fuzz": run_fuzz,
            "readers": run_readers,
            "kill": run_kill,
            "foreign": run_foreign,
        }
    )
