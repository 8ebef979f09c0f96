"""Each test of the contract runs with each permuter."""

import pytest

from permuter_problem import PERMUTERS


@pytest.fixture(params=PERMUTERS)
def permuter_of(request):
    return PERMUTERS[request.param]
