"""Operations that networks compile: gathers at computed places, reductions, cells moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv.network.compiled import Shapes
from fastconv.network.operations import operation
from tests.libraries import LIBRARIES, use

Array = np.ndarray[Any, Any]


def compiled(function: Callable[..., Any], *inputs: Array) -> Any:
    """Run a function as a network, which must be one that can be traced."""
    shapes = Shapes(function)
    assert shapes.compiled([(v.shape, v.dtype) for v in inputs]) is not None
    return shapes.run(list(inputs))[0]


def some(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype("f4")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_gather_at_computed_places_is_compiled(axis: int) -> None:
    table = some(7, 5, 30)
    length = table.shape[axis]
    places = np.random.default_rng(0).integers(-length, length, (3, 4))
    wanted = np.take(table, places, axis)
    gather = operation("gather")
    result = compiled(lambda p: gather(table, p, axis), places)
    np.testing.assert_array_equal(result, wanted)
    np.testing.assert_array_equal(compiled(lambda x, p: gather(x, p, axis), table, places), wanted)


def test_a_gather_beyond_the_end_is_refused() -> None:
    gather = operation("gather")
    for place in (5, -6):
        with pytest.raises((ValueError, IndexError), match="out of bounds"):
            compiled(lambda p: gather(some(5, 2), p), np.array([0, place]))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(4, 3, 300), (300,), (2, 0, 300), (1, 1, 300), ()])
def test_running_sums_are_summed_in_order(
    shape: tuple[int, ...], reverse: bool, exclusive: bool
) -> None:
    x = some(*shape)
    cumulate = operation("cumulate")
    for axis in range(max(1, len(shape))):
        options = {"exclusive": exclusive, "reverse": reverse}
        lined = np.atleast_1d(x)
        turned = np.flip(lined, axis) if reverse else lined
        wanted = np.add.accumulate(turned, axis)
        if exclusive:
            shifted = np.zeros_like(wanted)
            rows, moved = np.moveaxis(shifted, axis, 0), np.moveaxis(wanted, axis, 0)
            rows[1:] = moved[:-1]
            wanted = shifted
        wanted = (np.flip(wanted, axis) if reverse else wanted).reshape(shape)
        np.testing.assert_array_equal(cumulate(x, np.array(axis), **options), wanted)
        if 0 not in shape:
            found = compiled(lambda v, a=axis, o=options: cumulate(v, np.array(a), **o), x)
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 3, 4), (1, 5, 1)], ids=str)
def test_tiles_are_numpys(repeats: tuple[int, ...]) -> None:
    x = some(2, 3, 5)
    result = compiled(lambda v: operation("tile")(v, np.array(repeats)), x)
    np.testing.assert_array_equal(result, np.tile(x, repeats))


@pytest.mark.parametrize("name", ["reduce_mean", "reduce_max"])
@pytest.mark.parametrize("axes", [(3,), (2, 3), (1, 2, 3), (0, 1, 2, 3)], ids=str)
def test_reductions_of_last_axes_are_pools(name: str, axes: tuple[int, ...]) -> None:
    x = some(2, 3, 5, 70)
    for keepdims in (False, True):
        result = compiled(lambda v, k=keepdims: operation(name)(v, axes, k), x)
        wide = getattr(np, name.removeprefix("reduce_"))(
            x.astype("f8"), axis=axes, keepdims=keepdims
        )
        assert result.shape == wide.shape
        # A mean's roundings, of sums of numbers of size 5 at most.
        bound = 5 * 2100 * float(np.finfo("f4").eps) / 70 if name == "reduce_mean" else 0
        np.testing.assert_allclose(result, wide, rtol=0, atol=bound)


@pytest.mark.parametrize("library", LIBRARIES)
def test_rows_in_new_order_and_repeated_are_moved(library: str, monkeypatch: Any) -> None:
    use(library, monkeypatch)
    for dtype in ("u1", "f2", "f4", "f8"):
        x = (some(2, 19, 6, 8) * 50).astype(dtype)
        heads = compiled(lambda v: np.transpose(v, (0, 2, 1, 3)), x)
        np.testing.assert_array_equal(heads, np.transpose(x, (0, 2, 1, 3)))
        one = x[:, :, :1, :1].copy()
        wide = compiled(lambda v: np.broadcast_to(v, (2, 19, 6, 8)), one)
        np.testing.assert_array_equal(wide, np.broadcast_to(one, (2, 19, 6, 8)))


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0])
def test_whole_powers_are_products(exponent: float) -> None:
    x = np.abs(some(300)) + np.float32(0.1)
    result = operation("pow")(x, np.array(exponent, "f4"))
    wanted = x.astype("f8") ** exponent
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, wanted, rtol=2 * float(np.finfo("f4").eps))


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("columns", [3, 7, 8, 28])
@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_blocks_of_pixels_gathered_into_channels_are_moved(
    library: str, dtype: str, columns: int, block: int, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FASTCONV_BACKEND", use(library, monkeypatch))
    x = np.random.default_rng(0).integers(0, 200, (2, 5, 6 * block, columns * block)).astype(dtype)
    gathered = operation("space_to_depth")
    result = compiled(lambda v: gathered(v, block=block), x)
    split = x.reshape(2, 5, 6, block, columns, block)
    wanted = np.stack(
        [split[:, :, :, i, :, j] for i in range(block) for j in range(block)], axis=1
    ).reshape(2, 5 * block**2, 6, columns)
    np.testing.assert_array_equal(result, wanted)
