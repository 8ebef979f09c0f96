"""What pytest collects: a module that needs an optional dependency only where that is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("triton") else ["src/permtrain/core/gpu_kernel.py"]
