"""The house's rules: who may import whom, and what `import fastconv` may load."""

import os
import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]

# Loaded when first needed, never by `import fastconv`.
LATE = {
    "PIL",
    "click",
    "llvmlite",
    "matplotlib",
    "numba",
    "onnx",
    "rich",
    "safetensors",
    "scipy",
    "torch",
}


def run_python(source: str) -> subprocess.CompletedProcess[str]:
    """Run source in a fresh interpreter, with the repository root as its folder."""
    return subprocess.run(
        [sys.executable, "-X", "utf8", "-c", source],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_import_contracts_hold() -> None:
    source = "import sys, importlinter.cli as c; sys.exit(c.lint_imports(no_cache=True))"
    done = run_python(source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_problem_imports_nothing_of_ours() -> None:
    graph = grimp.build_graph("fastconv", cache_dir=None)
    inside = {"fastconv.problem"} | graph.find_descendants("fastconv.problem")
    imported = set().union(*map(graph.find_modules_directly_imported_by, inside))
    assert imported <= inside


def test_import_loads_nothing_heavy() -> None:
    source = """
import sys, fastconv
print(*sorted({name.split('.')[0] for name, module in sys.modules.items() if module}))
"""
    done = run_python(source)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "fastconv" in loaded
    assert not loaded & LATE
