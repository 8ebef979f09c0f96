"""permtrain: train a network by moving its weights to other places, never changing a value.

The public names stand, with their types, in `__init__.pyi`. They are loaded when first used, so
that the command line answers before torch is imported.
"""

import ast
import pkgutil

import lazy_loader

__version__ = "0.1.0"

# Read as data of the package, so that it is found in a zip too.
_STUB = ast.parse(pkgutil.get_data(__name__, "__init__.pyi") or b"")
_NAMES = {
    node.module or "": [alias.name for alias in node.names]
    for node in _STUB.body
    if isinstance(node, ast.ImportFrom)
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)
