"""The gallery knows every kind of picture; making it takes a minute and is not done here."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from permtrain.lab.pictures.registry import KINDS

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_kind_is_shown_or_said_to_be_left_out(gallery: ModuleType) -> None:
    assert {*gallery.SHOWN, *gallery.NOT_SHOWN} == set(KINDS)
    assert not gallery.SHOWN.keys() & gallery.NOT_SHOWN.keys()
    assert all(path.is_file() for path, _ in gallery.TABLES.values())


def test_the_page_has_a_section_and_a_picture_for_each(gallery: ModuleType) -> None:
    page = (DOCS / "gallery.md").read_text()
    for kind in KINDS:
        assert f"\n## {kind}\n\n*{KINDS[kind].description}*\n" in page
        assert (DOCS / "gallery" / f"{kind}.png").is_file() == (kind in gallery.SHOWN)
