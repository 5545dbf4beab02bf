"""What the compiler makes of Hopper's convolution: a table holds it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from fastconv.backends.cuda.conv.hopper import tiles_for
from fastconv.backends.cuda.conv.hopper_gemm import hopper_gemm
from fastconv.backends.cuda.engine.compiler import compile_kernel
from fastconv.backends.cuda.engine.kernel import Kernel
from fastconv.backends.cuda.engine.warpgroup import ITEMS
from fastconv.problem.activation import Activation
from tests.backends.cuda.test_compiled import LAYER, disassembled

# The tile's columns and rows: the most registers of a thread.
REGISTERS = {(128, 256): 168, (128, 192): 144, (128, 128): 104, (128, 64): 88}


def kernel_of(
    rows: int,
    columns: int,
    kind: str = "f16",
    dimensions: int = 2,
    channels: int = 256,
) -> Kernel:
    geometry = dataclasses.replace(LAYER, in_channels=channels, out_channels=256)
    tiles = tiles_for(geometry, ITEMS[kind])
    (tile,) = (t for t in tiles if (t.rows, t.columns) == (rows, columns))
    relu = Activation("relu")
    taps, steps = (1, 3, 3), (1, 1, 1)
    return hopper_gemm(tile, geometry, dimensions, taps, steps, kind, True, True, relu)


@pytest.mark.parametrize("size", REGISTERS, ids=str)
def test_products_follow_each_other(size: tuple[int, int], tmp_path: Path) -> None:
    cubin = compile_kernel(kernel_of(*size), "sm_90a")
    assert (cubin.spilled_bytes, cubin.stack_bytes) == (0, 0)
    assert cubin.registers <= REGISTERS[size]
    # The assembler tells where it makes products wait for each other.
    assert not cubin.losses
    code = "\n".join(disassembled(cubin.code, tmp_path))
    _, columns = size
    products = re.findall(rf"HGMMA\.64x{columns}x16\.F32", code)
    copies = re.findall(r"UTMALDG\.4D\.IM2COL", code), re.findall(r"UTMALDG\.2D", code)
    # Four products a step, which it may write out more than once, as often as its copies.
    assert len(products) in range(4, 65, 4)
    assert len(copies[0]) == len(copies[1]) >= 1
    # Residuals and results go by fours of halves.
    assert re.search(r"LDG\.E\.64", code)
    assert re.search(r"STG\.E\.64", code)
    assert not re.search(r"LDG\.E(\.U16)? R", code)
    waits = re.findall(r"WARPGROUP\.DEPBAR\.LE gsb0, 0x(\d)", code)
    assert waits == ["1"] * (len(products) // 4) + ["0"]


@pytest.mark.parametrize(("dimensions", "mode"), [(1, "3D"), (3, "5D")])
def test_signals_and_volumes(dimensions: int, mode: str, tmp_path: Path) -> None:
    cubin = compile_kernel(kernel_of(64, 64, "bf16", dimensions, 32), "sm_90a")
    assert (cubin.spilled_bytes, cubin.losses) == (0, "")
    code = "\n".join(disassembled(cubin.code, tmp_path))
    assert f"UTMALDG.{mode}.IM2COL" in code
    assert re.search(r"HGMMA\.64x64x16\.F32\.BF16", code)


def test_few_channels() -> None:
    cubin = compile_kernel(kernel_of(64, 64, channels=8), "sm_90a")
    assert (cubin.spilled_bytes, cubin.stack_bytes, cubin.losses) == (0, 0, "")


def test_float32_by_tf32(tmp_path: Path) -> None:
    cubin = compile_kernel(kernel_of(128, 128, "tf32"), "sm_90a")
    assert (cubin.spilled_bytes, cubin.stack_bytes, cubin.losses) == (0, 0, "")
    assert cubin.registers <= REGISTERS[128, 128]
    code = "\n".join(disassembled(cubin.code, tmp_path))
    assert re.search(r"HGMMA\.64x128x8\.F32\.TF32", code)
