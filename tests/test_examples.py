"""Every example runs, is short, and ends with a permutation of the initial weights."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
OPTIONAL = {"accelerate", "lightning", "optuna", "peft", "timm", "torchvision", "transformers"}


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_keeps_every_value(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    example = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(example)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")
    verification = example.main()
    assert verification
    assert verification.num_vectors
    assert not verification.is_before_first_step
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_the_readme_names_it(path):
    assert len(path.read_text().splitlines()) < 60
    assert f"examples/{path.name}" in (ROOT / "README.md").read_text()
