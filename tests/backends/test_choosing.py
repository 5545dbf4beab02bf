"""The largest along an axis, boxes that do not overlap, pooled regions: against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.backends.manifest.moves import TopK
from fastconv.backends.native import arena
from fastconv.backends.native import plan as engine_plan
from fastconv.backends.native.choosing import WAITING
from fastconv.dispatch import solve
from fastconv.network.operations import operation
from fastconv.problem import NonMaxSuppressionProblem, RoiAlignProblem, TopKProblem
from tests.libraries import LIBRARIES, use

Array = np.ndarray[Any, Any]
# Shape, axis, how many.
LINES = [
    ((1000,), 0, 5), ((1000,), 0, 0), ((1000,), 0, TopK.FEW + 1), ((7,), 0, 7), ((3, 5000), 1, 100),
    ((3, 5000), 1, 5000), ((2, 9000), -1, 2 * WAITING), ((2, 90, 37), 1, 3), ((2, 90, 37), 1, 40),
    ((60, 3), 0, 60), ((1,), 0, 1), ((0, 4), 1, 2), ((4, 0), 0, 2), ((1, 70000), 1, 33),
]  # fmt: skip


def entries(kind: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Numbers in orders that are hard on one way of choosing or another."""
    rng = np.random.default_rng(0)
    count = int(np.prod(shape))
    drawn = {
        "normal": lambda: rng.standard_normal(count),
        "rising": lambda: np.arange(count) / 7,
        "falling": lambda: -np.arange(count) / 7,
        "equal": lambda: np.zeros(count),
        "few": lambda: rng.integers(-2, 3, count) * rng.choice([1.0, -0.0], count),
        "special": lambda: rng.choice(
            [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42, 1.0], count
        ),
    }
    return np.asarray(drawn[kind]().astype(dtype).reshape(shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["normal", "rising", "falling", "equal", "few", "special"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_topk_is_a_stable_sort(library: str, kind: str, dtype: str, monkeypatch: Any) -> None:
    backend = use(library, monkeypatch)
    for shape, axis, count in LINES:
        x = entries(kind, shape, dtype)
        for largest in (True, False):
            for ordered in (True, False):
                problem = TopKProblem.of(x, count, axis=axis, largest=largest, ordered=ordered)
                arena.take(1 << 20)
                arena.poison()
                values, places = solve(problem, (x,), backend=backend)
                if 0 in problem.output_shape:
                    assert values.shape == places.shape == problem.output_shape
                    continue
                wanted = solve(problem, (x,), backend="reference")
                np.testing.assert_array_equal(places, wanted[1], str((shape, largest, ordered)))
                np.testing.assert_array_equal(values, wanted[0])


@pytest.mark.parametrize("library", LIBRARIES)
def test_topk_gives_the_same_on_any_number_of_threads(library: str, monkeypatch: Any) -> None:
    backend = use(library, monkeypatch)
    monkeypatch.setattr(engine_plan, "SERIAL_SECONDS", 0)
    x = entries("few", (9, 300, 5), "float32")
    problem = TopKProblem.of(x, 20, axis=1)
    before, results = fastconv.settings._threads, []
    try:
        for threads in (1, 3):
            fastconv.settings.set_num_threads(threads)
            results.append(solve(problem, (x,), backend=backend)[1])
    finally:
        fastconv.settings._threads = before
    np.testing.assert_array_equal(*results)


def test_topk_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="selected index k out of range: 6 of 5 entries"):
        TopKProblem.of(np.zeros(5, "f4"), 6)


def some_boxes(images: int, count: int, centers: bool, classes: int) -> tuple[Array, Array]:
    """Boxes of which many overlap, with opposite corners in any order, and tied scores."""
    rng = np.random.default_rng(count)
    corners = rng.uniform(0, 60, (images, count, 2))
    sizes = rng.uniform(0, 30, (images, count, 2))
    boxes = np.concatenate([corners, sizes if centers else corners + sizes], axis=2)
    if not centers:
        turned = rng.uniform(size=(images, count)) < 0.3
        boxes[turned] = boxes[turned][:, [2, 3, 0, 1]]
    boxes[:, : count // 8] = boxes[:, -1:]
    boxes[:, count // 8 : count // 4, 2:] = 0 if centers else boxes[:, count // 8 : count // 4, :2]
    scores = np.round(rng.uniform(-1, 1, (images, classes, count)), 1)
    return boxes.astype("f4"), scores.astype("f4")


@pytest.mark.parametrize("centers", [False, True])
@pytest.mark.parametrize("library", LIBRARIES)
def test_boxes_are_chosen_as_the_reference_does(
    library: str, centers: bool, monkeypatch: Any
) -> None:
    backend = use(library, monkeypatch)
    for count in (1, 5, 47, 48, 200):
        boxes, scores = some_boxes(2, count, centers, 3)
        scores.reshape(-1)[::11] = np.nan
        for most in (1, 16, 17, 1000):
            for overlap in (0.0, 0.3, 0.5, 1.0):
                for least in (None, 0.0, 0.7):
                    problem = NonMaxSuppressionProblem.of(
                        boxes, scores, most, overlap=overlap, least=least, centers=centers
                    )
                    arena.take(1 << 16)
                    arena.poison()
                    given = solve(problem, (boxes, scores), backend=backend)
                    wanted = solve(problem, (boxes, scores), backend="reference")
                    for one, other in zip(given, wanted, strict=True):
                        np.testing.assert_array_equal(one, other)


def test_boxes_and_scores_that_do_not_agree_are_refused() -> None:
    boxes, scores = some_boxes(2, 5, False, 3)
    with pytest.raises(ValueError, match="must agree in images and boxes"):
        NonMaxSuppressionProblem.of(boxes, scores[:, :, :4], 3)
    with pytest.raises(ValueError, match=r"boxes must be \(images, boxes, 4\)"):
        NonMaxSuppressionProblem.of(boxes[0], scores, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_regions_are_pooled_as_in_float64(library: str, dtype: str, monkeypatch: Any) -> None:
    backend = use(library, monkeypatch)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 70, 13, 17)).astype(dtype)
    corners = rng.uniform(-8, 30, (9, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(-4, 30, (9, 2))], 1).astype(dtype)
    boxes[0] = (-90, -90, -80, -80)
    images = rng.integers(0, 2, 9)
    for size in ((1, 1), (3, 5)):
        for ratio in (0, 1, 3):
            for half in (False, True):
                for largest in (False, True):
                    problem = RoiAlignProblem(
                        np.dtype(dtype), x.shape, 9, size, ratio, 0.5, half, largest,
                        (size[0] * max(16, ratio), size[1] * max(16, ratio)),
                    )  # fmt: skip
                    arena.take(1 << 16)
                    arena.poison()
                    given = solve(problem, (x, boxes, images), backend=backend)
                    wanted = solve(problem, (x, boxes, images), backend="reference")
                    # Weights' roundings, and a sum of so many samples of cells of size 4.
                    bound = 4 * np.finfo(dtype).eps * (16 + 4 * max(ratio, 16))
                    np.testing.assert_allclose(given, wanted, rtol=0, atol=bound)


def test_regions_that_cannot_be_pooled_are_refused_before_they_are() -> None:
    pool = operation("roi_align")
    options = {
        "size": (2, 2), "ratio": 0, "scale": 1.0, "half_pixel": False, "largest": False,
    }  # fmt: skip
    x, box = np.zeros((1, 1, 4, 4), "f4"), np.array([[0, 0, 2, 2]], "f4")
    with pytest.raises(ValueError, match="regions of images 1 to 1, but there are 1"):
        pool(x, box, np.array([1]), **options)
    with pytest.raises(ValueError, match="regions must be finite"):
        pool(x, np.array([[0, 0, np.inf, 2]], "f4"), np.array([0]), **options)
    with pytest.raises(ValueError, match="max_memory"):
        pool(x, box * np.float32(1e30), np.array([0]), **options)
    assert pool(x, box[:0], np.zeros(0, np.int64), **options).shape == (0, 1, 2, 2)
