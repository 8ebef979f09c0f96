"""What pytest collects: a module that needs an optional dependency only where that is installed."""

from importlib.util import find_spec
from pathlib import Path

needs_triton = ["src/permtrain/core/gpu_kernel.py", "src/permtrain/core/gpu_programs.py"]
collect_ignore = [] if find_spec("triton") else needs_triton
for framework in ("lightning", "transformers"):
    path = f"src/permtrain/integrations/{framework}.py"
    collect_ignore += [] if find_spec(framework) else [path]
needs_matplotlib = map(str, Path(__file__).parent.glob("src/permtrain/lab/pictures/*.py"))
collect_ignore += [] if find_spec("matplotlib") else needs_matplotlib
