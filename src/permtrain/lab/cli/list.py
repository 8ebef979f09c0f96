"""`permtrain list`: what can be named on the command line."""

from rich.table import Table

from permtrain.core.cut import MEANINGS
from permtrain.initial.rules import RULES
from permtrain.lab.cli.console import PlainConsole
from permtrain.lab.data.registry import DATASETS, TEXTS
from permtrain.lab.models.registry import NETWORKS
from permtrain.lab.training.settings import METHODS


def show_catalogue() -> None:
    """List networks, data sets, methods and rules."""
    console = PlainConsole()
    networks = {
        entry.name: f"{entry.description}; {entry.num_weights:,} weights"
        for entry in NETWORKS.values()
    }
    data = {entry.name: entry.description for entry in DATASETS.values()} | TEXTS
    for title, rows in (
        ("networks (--model)", networks),
        ("data (--data)", data),
        ("methods (--method)", METHODS),
        ("rules (--rule)", RULES),
        ("granularities (--granularity)", MEANINGS),
    ):
        table = Table(title=title, title_justify="left", show_header=False, box=None)
        table.add_column(no_wrap=True)
        table.add_column()
        for name, description in rows.items():
            table.add_row(f"  {name}", description)
        console.print(table)
        console.print()
