"""Threads have work: long layers are cut into several items, on whatever machine.

Work is cut for made-up machines; no kernel runs.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import machine as machines
from fastconv.backends.native.algorithm import NativeAlgorithm
from fastconv.backends.native.conv import depthwise, depthwise_planar, im2col, planar, skinny
from fastconv.backends.native.conv.common import conv_tile, register_tiles
from fastconv.backends.native.conv.fft.layout import Blocks
from fastconv.backends.native.conv.geometry import padded_size
from fastconv.backends.native.conv.pack import pack_input
from fastconv.backends.native.conv.planes import Planes, row_tile
from fastconv.backends.native.conv.separable import down_then_across
from fastconv.backends.native.conv.winograd.layout import Layout
from fastconv.backends.native.gemm import block_count
from fastconv.backends.native.items import LEAST_ITEMS
from fastconv.backends.native.linear import _tile as linear_tile
from fastconv.backends.native.plan import NativePlan
from fastconv.backends.native.tile import Tile, register_tile
from fastconv.dispatch.registry import ROWS, _class
from fastconv.machine import FIGURES, Machine
from fastconv.problem import (
    AdaptivePoolProblem,
    AttentionProblem,
    BatchNormProblem,
    ConvProblem,
    ConvTransposeProblem,
    GroupNormProblem,
    LayerNormProblem,
    LinearProblem,
    MatmulProblem,
    PoolProblem,
    SoftmaxProblem,
)

# Predicted seconds of one thread from which on a layer has items enough, or a stage of it.
LONG, LONG_STAGE = 300e-6, 100e-6
LAYERS = Path(__file__).parents[2] / "benchmarks" / "layers.csv"
L1, L2, L3 = (32, 48, 64), (256, 512, 1024, 2048, 4096), (8 << 10, 32 << 10, 256 << 10)
# (in channels, size, out channels, kernel, groups), in addition to the list of benchmarks: small
# maps of many channels, long signals, volumes, few channels.
SHAPES: list[tuple[int, tuple[int, ...], int, int | tuple[int, ...], int]] = [
    (512, (7, 7), 512, 3, 1), (2048, (7, 7), 512, 1, 1), (512, (7, 7), 2048, 1, 1),
    (1024, (7, 7), 48, 3, 1), (2048, (7, 7), 20, 1, 1), (960, (7, 7), 160, 1, 1),
    (1280, (1, 1), 1280, 1, 1), (512, (4, 4), 512, 3, 1), (512, (2, 2), 512, 3, 1),
    (256, (14, 14), 256, 3, 1), (256, (14, 14), 32, 3, 1), (832, (7, 7), 32, 5, 1),
    (64, (28, 28), 64, 5, 1), (3, (64, 64), 8, 5, 1), (3, (512, 512), 8, 3, 1),
    (512, (7, 7), 512, 3, 2), (256, (14, 14), 256, 3, 32),
    (1, (200000,), 1, 9, 1), (1, (200000,), 1, 101, 1), (16, (50000,), 16, 9, 1),
    (64, (16000,), 64, 3, 1), (256, (4000,), 8, 3, 1), (512, (1500,), 512, 3, 1),
    (80, (3000,), 512, 3, 1), (16, (1000,), 16, 129, 1), (2, (160000,), 2, 65, 2),
    (48, (40000,), 48, 31, 48),
    (16, (16, 28, 28), 32, 3, 1), (64, (8, 14, 14), 64, 3, 1), (256, (4, 7, 7), 256, 3, 1),
    (3, (16, 112, 112), 16, (1, 7, 7), 1),
    (1, (256, 256), 16, 9, 1), (3, (200, 200), 3, 41, 1), (1, (64, 64), 64, 11, 1),
    (3, (300, 300), 3, 31, 3), (32, (28, 28), 32, 31, 32), (16, (14, 14), 16, 13, 16),
    (512, (14, 14), 512, 7, 512), (64, (7, 7), 64, 7, 64), (8, (64, 64), 8, 7, 8),
    (2, (500, 500), 2, 21, 2),
]  # fmt: skip


class Kernels:
    """A library of kernels that are never called."""

    BACKEND = "c"

    def tile(self, dtype: np.dtype[Any], machine: Machine) -> Tile:
        return register_tile(dtype, machine)

    def kernel(self, name: str, *constants: Any) -> int:
        return 1

    def has(self, name: str, *constants: Any) -> bool:
        return True


KERNELS = Kernels()


def algorithms(problem: str) -> list[Any]:
    """Make every native algorithm of a type of problem."""
    found = [row for row in ROWS if row[0] == problem and row[1] == "c numba"]
    return [_class("native", module, name)(KERNELS) for _, _, module, name in found]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, isa: str, l2: int) -> Iterator[Machine]:
    """Machines of an instruction set and a second cache, each in force until the next."""

    def each() -> Iterator[Machine]:
        for l1, l3 in zip(L1, L3, strict=True):
            machine = Machine(isa, FIGURES[isa], l1 << 10, l2 << 10, l3 << 10)
            monkeypatch.setattr(machines, "_describe", lambda _, machine=machine: machine)
            yield machine

    return each()


every_isa = pytest.mark.parametrize("isa", FIGURES)
every_l2 = pytest.mark.parametrize("l2", L2)


def conv(
    channels: int,
    size: tuple[int, ...],
    out: int,
    kernel: int | tuple[int, ...],
    groups: int,
    **more: Any,
) -> ConvProblem:
    n = len(size)
    taps = kernel if isinstance(kernel, tuple) else (kernel,) * n
    fields: dict[str, Any] = {
        "dtype": np.dtype("f4"), "stride": (1,) * n, "dilation": (1,) * n,
        "padding": tuple((k // 2, k // 2) for k in taps), **more,
    }  # fmt: skip
    return ConvProblem(
        batch=1, in_channels=channels, out_channels=out, input_size=size, kernel_size=taps,
        groups=groups, **fields,
    )  # fmt: skip


def convolutions() -> Iterator[ConvProblem]:
    for last in (False, True):
        for row in csv.DictReader(LAYERS.read_text().splitlines()):
            v = {name: int(number) for name, number in row.items() if name != "name"}
            yield conv(
                v["in_channels"], (v["height"], v["width"]), v["out_channels"],
                (v["kernel_h"], v["kernel_w"]), v["groups"], channels_last=last,
                stride=(v["stride"],) * 2, dilation=(v["dilation"],) * 2,
                padding=((v["pad_h"],) * 2, (v["pad_w"],) * 2),
            )  # fmt: skip
        for shape in SHAPES:
            yield conv(*shape, channels_last=last)
    for shape in SHAPES:
        yield conv(*shape, dtype=np.dtype("f8"))
        if len(shape[1]) == 2:
            yield conv(*shape, separable=True)


def planes_items(problem: ConvProblem, machine: Machine) -> int:
    planes = Planes(problem, machine.lanes(problem.dtype))
    return depthwise_planar.item_count(planes, row_tile(KERNELS, planes, machine))


def conv_items(algorithm: Any, problem: ConvProblem, machine: Machine) -> tuple[int, int]:
    """Count the items of the stage that computes, and those that there can be at most."""
    name = algorithm.name
    if name.startswith("winograd"):
        layout = Layout.of(KERNELS, problem, algorithm.m, machine)
        # A register tile is the least that a worker is given.
        tiles = -(-layout.tiles_image // layout.tile.rows)
        return layout.items, layout.groups * layout.panels * tiles
    if name == "separable":
        return min(planes_items(p, machine) for p in down_then_across(problem)), LEAST_ITEMS
    if name == "depthwise_planar":
        return planes_items(problem, machine), LEAST_ITEMS
    if name == "depthwise":
        tile = depthwise.line_tile(KERNELS, problem, machine)
        return depthwise.item_count(problem, tile), LEAST_ITEMS
    if name == "planar":
        return planar.Shape.of(KERNELS, problem, machine).items_image, LEAST_ITEMS
    if name == "fft":
        blocks = Blocks.of(problem, machine)
        assert blocks is not None
        # Smaller blocks would be other sums.
        planes = problem.in_channels * blocks.matrices
        return blocks.items_image, planes * blocks.multiplier
    tile = conv_tile(KERNELS, problem, machine)
    most = register_tiles(problem, tile)
    if name == "im2col":
        return im2col.item_count(problem, tile), most
    if name == "skinny":
        tile = skinny.skinny_tile(KERNELS, problem, machine)
        pixels = -(-prod(problem.output_size) // tile.columns)
        channels = -(-problem.out_channels // problem.groups // tile.rows)
        return skinny.item_count(problem, tile), problem.groups * channels * pixels
    assert name == "direct"
    columns = problem.out_channels // problem.groups
    return problem.groups * block_count(prod(problem.output_size), columns, tile), most


@every_isa
@every_l2
def test_long_convolutions_have_items(made_up: Iterator[Machine]) -> None:
    every = algorithms("ConvProblem")
    problems = list(convolutions())
    few = set()
    for machine in made_up:
        for problem in problems:
            for algorithm in every:
                if algorithm.why_not(problem) is not None:
                    continue
                if algorithm.cost(problem, machine).seconds < LONG:
                    continue
                items, most = conv_items(algorithm, problem, machine)
                if items < min(LEAST_ITEMS, most):
                    few.add((algorithm.name, items, machine, problem))
    assert not few


@every_isa
@pytest.mark.parametrize("l2", [1024])
def test_long_packing_has_items(made_up: Iterator[Machine]) -> None:
    machine = next(made_up)
    for problem in convolutions():
        before = tuple(p[0] for p in problem.padding)
        packed = pack_input(KERNELS, problem, before, padded_size(problem))
        if packed.workspace_bytes / machine.memory_bandwidth > LONG_STAGE:
            assert [s.items for s in packed.stages if s.items < LEAST_ITEMS] == [], problem


def planned(algorithm: NativeAlgorithm, problem: Any) -> NativePlan:
    """Plan a problem for any parameters: no kernel runs."""
    if type(algorithm).geometry is NativeAlgorithm.geometry:
        plan = algorithm.plan(problem)
        assert isinstance(plan, NativePlan)
        return plan
    return algorithm.geometry(problem)


@every_isa
@pytest.mark.parametrize("l2", [1024])
def test_plans_cut_as_they_say(made_up: Iterator[Machine]) -> None:
    """What is counted above is what plans have."""
    machine = next(made_up)
    shapes = [(32, (7, 7), 70, 3, 1), (16, (300,), 16, 5, 16), (2, (40, 41), 6, 9, 2)]
    for shape, last in product(shapes, (False, True)):
        problem = conv(*shape, channels_last=last, separable=len(shape[1]) == 2)
        for algorithm in algorithms("ConvProblem"):
            if algorithm.why_not(problem) is None:
                plan = planned(algorithm, problem)
                items = [conv_items(algorithm, problem, machine)[0]]
                if algorithm.name == "separable":
                    items = [planes_items(p, machine) for p in down_then_across(problem)]
                assert [s.items for s in plan.stages[-len(items) :]] == items


# (rows, features in, features out)
LINEAR = [(1, 4096, 4096), (1, 25088, 4096), (1, 2048, 1000), (1, 25088, 100), (2, 25088, 4096),
          (3, 9216, 64), (64, 4096, 40), (197, 768, 3072), (5000, 768, 10)]  # fmt: skip


@every_isa
@pytest.mark.parametrize("l2", [1024])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_long_linear_layers_have_items(made_up: Iterator[Machine], dtype: str) -> None:
    machine = next(made_up)
    (linear,) = algorithms("LinearProblem")
    for rows, inside, out in LINEAR:
        problem = LinearProblem(
            dtype=np.dtype(dtype), batch=rows, in_features=inside, out_features=out
        )
        if linear.cost(problem, machine).seconds < LONG:
            continue
        tile = linear_tile(KERNELS, problem)
        most = -(-rows // tile.rows) * -(-out // tile.columns)
        assert block_count(rows, out, tile) >= min(LEAST_ITEMS, most), problem


def shaped(*shape: int) -> Any:
    return np.broadcast_to(np.zeros((), "f4"), shape)


def others() -> Iterator[Any]:
    for layout in ("NCHW", "NHWC"):
        for channels, length in ((3, 1000), (64, 224), (512, 60), (2048, 30)):
            size = (channels, length, length) if layout == "NCHW" else (length, length, channels)
            x = shaped(1, *size)
            for kind, norm in (("max", None), ("avg", None), ("lp", 2.0), ("lp", 3.0)):
                for kernel, stride in ((2, 2), (3, 2), (3, 1), (13, 1), (23, 16)):
                    yield PoolProblem.of(
                        kind, 2, x, kernel, stride=stride, norm_type=norm, layout=layout
                    )
            yield PoolProblem.of("max", 2, x, 3, stride=2, return_indices=True, layout=layout)
            for output in (1, 7):
                yield AdaptivePoolProblem.of("avg", 2, x, output, layout=layout)
            one = shaped(channels)
            yield BatchNormProblem.of(x, one, one, layout=layout)
            yield GroupNormProblem.of(x, 1, layout=layout)
    for lengths in ((64, 4096), (8, 100000), (197, 768), (12, 197, 197), (4, 1000000)):
        yield LayerNormProblem.of(shaped(*lengths), lengths[-1])
        yield SoftmaxProblem.of(shaped(*lengths), -1)
        yield SoftmaxProblem.of(shaped(*lengths), 0)
    for batch, rows, depth, columns in (
        (1, 512, 512, 512), (12, 197, 64, 197), (2, 1, 4096, 4096), (1, 5000, 64, 30),
        (3, 60, 700, 60),
    ):  # fmt: skip
        yield MatmulProblem.of(shaped(batch, rows, depth), shaped(batch, depth, columns))
        key = shaped(batch, columns, depth)
        yield AttentionProblem.of(shaped(batch, rows, depth), key, key)
    for channels, length, out, kernel, stride in (
        (256, 14, 128, 4, 2), (512, 7, 256, 4, 2), (64, 112, 3, 4, 2), (1024, 4, 160, 5, 3),
    ):  # fmt: skip
        yield ConvTransposeProblem.of(
            2, shaped(1, channels, length, length), shaped(channels, out, kernel, kernel),
            stride=stride, padding=1,
        )  # fmt: skip


def fewest(problem: Any) -> int:
    """Count the items that there can be: a sum is never split, nor a cache line of sums."""
    if isinstance(problem, AdaptivePoolProblem):
        channels = problem.channels
        lines = -(-channels // 16) if problem.channels_last else channels
        return prod(problem.output_size) * lines
    if isinstance(problem, AttentionProblem):
        # All of a query's scores are needed before any of its values.
        return prod(problem.lengths) * -(-problem.queries // 16)
    return LEAST_ITEMS


@every_isa
@pytest.mark.parametrize("l2", [256, 4096])
def test_other_long_stages_have_items(made_up: Iterator[Machine]) -> None:
    machine = next(made_up)
    for problem in others():
        for algorithm in algorithms(type(problem).__name__):
            if algorithm.why_not(problem) is not None:
                continue
            seconds = algorithm.cost(problem, machine).seconds
            if seconds < LONG:
                continue
            plan = planned(algorithm, problem)
            # Moments are put together a group: little work, in one order.
            stages = [s.items for s in plan.stages if s.items != problem_groups(problem)]
            if isinstance(problem, (AttentionProblem, MatmulProblem)):
                # Packing before them is short where there are few panels.
                stages = stages[-1:]
            assert min(stages) >= min(LEAST_ITEMS, fewest(problem)), (algorithm.name, problem)


def problem_groups(problem: Any) -> int:
    return problem.batch * problem.groups if isinstance(problem, GroupNormProblem) else 0
