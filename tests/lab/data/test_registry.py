import subprocess
import sys

import pytest

from permtrain.lab.data.registry import DATASETS


def test_names() -> None:
    assert all(name == entry.name for name, entry in DATASETS.items())


def test_jpeg_copies_are_named_as_such() -> None:
    entry = DATASETS["cifar10-jpeg"]
    assert entry.hub_id is None
    assert "never compare with published CIFAR-10" in entry.description


@pytest.mark.parametrize("module", ["registry", "augment_settings"])
def test_imports_are_cheap(module: str) -> None:
    code = (
        f"import sys, permtrain.lab.data.{module}; "
        "sys.exit(bool({'torch', 'datasets', 'numpy', 'sklearn'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
