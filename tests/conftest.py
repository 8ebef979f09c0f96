"""What every test shares: the Hypothesis profile, the devices, the seeds."""

import os
import random
import signal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("local", deadline=None, max_examples=60)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # shared machines stall
)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell's background job is born with Ctrl-C ignored, which runs respect; tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


# Session scope, so that Hypothesis tests may ask for it: it is the same for all their examples.
@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device there is, one after the other."""
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """Each test starts from the same generators, in whatever order tests run."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
