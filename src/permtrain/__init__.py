"""permtrain: train a network by moving its weights to other places, never changing a value.

The public names stand, with their types, in `__init__.pyi`. They are loaded when first used, so
that the command line answers before torch is imported.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
