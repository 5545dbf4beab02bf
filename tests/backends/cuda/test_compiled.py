"""What the compiler makes of each kernel, with neither a GPU nor a driver: a table holds it."""

from __future__ import annotations

import collections
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastconv.backends.cuda.conv.depthwise import depthwise
from fastconv.backends.cuda.conv.implicit_gemm import Geometry, implicit_gemm
from fastconv.backends.cuda.conv.winograd_kernel import LARGE, NARROW, WIDE, winograd
from fastconv.backends.cuda.engine.compiler import compile_kernel
from fastconv.backends.cuda.pointwise import elementwise
from fastconv.backends.cuda.pool import FOLDS, pool
from fastconv.backends.cuda.tile import TILES
from fastconv.backends.cuda.transpose import transposing
from fastconv.problem.activation import Activation

RELU = Activation("relu")
LAYER = Geometry(
    1, (1, 56, 56), (1, 56, 56), (1, 1, 1), (0, 1, 1), 64, 64, 1, 9, (False, True, True)
)
STEM = Geometry(
    1,
    (1, 224, 224),
    (1, 112, 112),
    (1, 2, 2),
    (0, 3, 3),
    3,
    64,
    1,
    49,
    (False, True, True),
    lattice=((1, 1), (7, 1), (7, 1)),
)
LINES = Geometry(
    1, (1, 56, 56), (1, 56, 56), (1, 1, 1), (0, 1, 1), 96, 96, 96, 9, (False, True, True)
)
APART = Geometry(
    1, (1, 7, 7), (1, 7, 7), (1, 1, 1), (0, 1, 1), 512, 512, 1, 9, (False, True, True),
    slices=32, apart=True,
)  # fmt: skip
# Name: the kernel, the most registers of a thread, the least part of FFMA in its inner loop.
TABLE: dict[str, tuple[Any, int, float]] = {
    "implicit GEMM 128x128": (implicit_gemm(TILES[0], LAYER, True, True, RELU), 128, 0.87),
    "implicit GEMM 128x64": (implicit_gemm(TILES[1], LAYER, True, True, RELU), 128, 0.86),
    "implicit GEMM 64x64": (implicit_gemm(TILES[2], LAYER, True, True, RELU), 128, 0.86),
    "stem 128x64": (implicit_gemm(TILES[1], STEM, True, False, RELU), 128, 0.82),
    "slices apart": (implicit_gemm(TILES[2], APART, False, False, None), 168, 0.83),
    "winograd F(2), wide": (winograd(WIDE, LAYER, True, True, RELU), 232, 0.84),
    "winograd F(2), narrow": (winograd(NARROW, LAYER, True, True, RELU), 128, 0.77),
    "winograd F(4)": (winograd(LARGE, LAYER, True, True, RELU), 168, 0.59),
    "depthwise 3x3": (depthwise(LINES, (1, 3, 3), (1, 1, 1), True, False, RELU), 80, 0.0),
    "max pool": (pool(FOLDS["max"], 1, 64, (1, 56, 56), (1, 28, 28), (1, 1, 1)), 96, 0.0),
    "gelu": (elementwise(1001, Activation.of("gelu")), 48, 0.0),
    "transpose": (transposing(8, 64, 3136, None, None).kernel, 40, 0.0),
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("name", TABLE)
def test_registers_spills_and_density(name: str, arch: str, tmp_path: Path) -> None:
    kernel, registers, density = TABLE[name]
    cubin = compile_kernel(kernel, arch)
    assert (cubin.spilled_bytes, cubin.stack_bytes) == (0, 0)
    assert cubin.registers <= registers
    if density:
        _, found = densest(cubin.code, tmp_path, "FFMA")
        assert found >= density, f"{found:.3f} of the inner loop's instructions are FFMA"


def densest(code: bytes, folder: Path, wanted: str) -> tuple[int, float]:
    """Return the most of some instruction in any loop, and their part of that loop."""
    labels: dict[str, int] = {}
    ops: list[tuple[str, str]] = []
    for line in disassembled(code, folder):
        label = re.match(r"\s*\.(L_x_\d+):", line)
        if label:
            labels[label[1]] = len(ops)
        op = re.search(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\d+\s+)?([A-Z][A-Z0-9_]*)(.*)", line)
        if op:
            ops.append((op[1], op[2]))
    best = (0, 0.0)
    for place, (name, rest) in enumerate(ops):
        target = re.search(r"L_x_\d+", rest) if name == "BRA" else None
        start = labels.get(target[0], place) if target else place
        counts = collections.Counter(op for op, _ in ops[start : place + 1])
        if target:
            best = max(best, (counts[wanted], counts[wanted] / (place + 1 - start)))
    return best


def disassembled(code: bytes, folder: Path) -> list[str]:
    """Return a cubin as assembly, or skip where the disassembler is missing."""
    import nvidia

    found = [p for root in nvidia.__path__ for p in Path(root).rglob("nvdisasm*") if p.is_file()]
    if not found:
        pytest.skip("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm")
    path = folder / "kernel.cubin"
    path.write_bytes(code)
    done = subprocess.run([str(found[0]), "-c", str(path)], capture_output=True, check=True)
    return done.stdout.decode().splitlines()
