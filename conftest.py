"""What pytest collects: a module that needs an optional dependency only where that is installed."""

from importlib.util import find_spec

needs_triton = ["src/permtrain/core/gpu_kernel.py", "src/permtrain/core/gpu_programs.py"]
collect_ignore = [] if find_spec("triton") else needs_triton
collect_ignore_glob = [] if find_spec("matplotlib") else ["src/permtrain/lab/pictures/*.py"]
