"""Each test that takes `settings` runs with all of them."""

import pytest

from sgperm_problem import SETTINGS


@pytest.fixture(params=SETTINGS)
def settings(request):
    return SETTINGS[request.param]
