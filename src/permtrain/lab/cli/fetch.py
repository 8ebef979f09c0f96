"""`permtrain fetch`: data sets by name."""

from pathlib import Path
from typing import Annotated

import tyro

from permtrain.lab.cli.console import say


def fetch(
    data: Annotated[tuple[str, ...], tyro.conf.Positional], data_folder: Path | None = None
) -> None:
    """Fetch data sets from the Hugging Face hub, unless they are here.

    Args:
        data: Names of data sets (permtrain list).
        data_folder: Gets NAME/train.parquet and NAME/test.parquet. Else $PERMTRAIN_DATA, else the
            decoded images are kept in the cache.
    """
    from permtrain.errors import DataError
    from permtrain.lab.data.fetch import fetch as fetch_one
    from permtrain.lab.data.registry import DATASETS

    if not data:
        raise DataError(f"fetch got no name; known: {', '.join(DATASETS)}")
    for name in data:
        say(fetch_one(name, data_folder))
