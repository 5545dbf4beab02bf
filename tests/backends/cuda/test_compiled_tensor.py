"""What the compiler makes of the tensor cores' GEMM: a table holds it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fastconv.backends.cuda.conv.tensor_gemm import tensor_gemm
from fastconv.backends.cuda.conv.tensor_plan import BY_DTYPE, BY_PRECISION, THRICE_TILES, TILES
from fastconv.backends.cuda.engine.compiler import compile_kernel
from tests.backends.cuda.test_compiled import LAYER, RELU, densest

WIDE = dataclasses.replace(LAYER, in_channels=128, out_channels=128)
STEM = dataclasses.replace(LAYER, in_channels=8, out_channels=70, taps=49)
# Name: the kernel's tile, products, layer and taps; the most registers of a thread; products of
# tiles in the inner loop, and their least part of its instructions.
TABLE: dict[str, tuple[Any, int, int, float]] = {
    "f16 128x128": ((TILES[0], BY_DTYPE["float16"], WIDE, 3), 240, 128, 0.37),
    "f16 32x32": ((TILES[3], BY_DTYPE["float16"], WIDE, 3), 64, 8, 0.07),
    "3xtf32 128x128": ((THRICE_TILES[0], BY_PRECISION["3xtf32"], WIDE, 3), 168, 192, 0.30),
    "tf32 64x64": ((TILES[2], BY_PRECISION["tf32"], WIDE, 3), 128, 32, 0.11),
    "bf16 of float32 64x64": ((TILES[2], BY_PRECISION["bf16"], STEM, 7), 104, 16, 0.08),
}


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("f16 128x128", "sm_80"),
        ("f16 32x32", "sm_90a"),
        ("3xtf32 128x128", "sm_90a"),
        ("tf32 64x64", "sm_80"),
        ("bf16 of float32 64x64", "sm_90a"),
    ],
)
def test_registers_spills_and_products(name: str, arch: str, tmp_path: Path) -> None:
    (tile, products, layer, taps), registers, count, part = TABLE[name]
    kernel = tensor_gemm(tile, products, layer, (1, taps, taps), (1, 1, 1), True, True, RELU)
    cubin = compile_kernel(kernel, arch)
    assert (cubin.spilled_bytes, cubin.stack_bytes) == (0, 0)
    assert cubin.registers <= registers
    found = densest(cubin.code, tmp_path, "HMMA")
    assert found[0] == count
    assert found[1] >= part
