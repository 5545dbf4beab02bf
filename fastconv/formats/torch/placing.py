"""Calls that read and write at computed places, and those that write into parts of an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fastconv.formats.torch.arithmetic import operand
from fastconv.formats.torch.call import Call, Unsupported, numpy_dtype, translates

_LAST = np.iinfo(np.int64).max
_MASKS = (torch.bool, torch.uint8)


@translates("index")
def index(call: Call) -> None:
    places, names = _indices(call)
    if len(places) == 1:
        call.answer("gather", (call.value("self"), names[0]), axis=places[0])
    else:
        call.answer("take_at", (call.value("self"), *names), places=places)


def _indices(call: Call) -> tuple[tuple[int, ...], list[str]]:
    """Return the axes that are indexed, and the arrays of indices."""
    given = call.arguments["indices"]
    places = tuple(place for place, value in enumerate(given) if value is not None)
    names = []
    for place in places:
        if call.builder.fake_of(given[place]).dtype in _MASKS:
            raise Unsupported(
                "a mask as an index, whose result's shape depends on values (torch.where keeps it)"
            )
        names.append(call.builder.name_of(given[place]))
    return places, names


@translates("index_put", "_unsafe_index_put")
def index_put(call: Call) -> None:
    accumulate = bool(call.get("accumulate"))
    mask = _only_mask(call)
    if mask is not None and not accumulate and call.fake("values").numel() == 1:
        condition = call.builder.name_of(mask)
        trailing = call.rank() - len(call.builder.fake_of(mask).shape)
        if trailing:
            axes = tuple(range(call.rank() - trailing, call.rank()))
            condition = call.step("unsqueeze", (condition,), axes=axes)
        condition = call.step("cast", (condition,), dtype=np.dtype(np.bool_))
        value = call.step("reshape", (call.value("values"), call.sizes([])), allow_zero=True)
        call.answer("where", (condition, value, call.value("self")))
        return
    places, names = _indices(call)
    inputs = (call.value("self"), call.value("values"), *names)
    call.answer("put_at", inputs, places=places, accumulate=accumulate)


def _only_mask(call: Call) -> Any:
    """Return the mask that is the first and only index; None without one."""
    first, *rest = call.arguments["indices"]
    if first is None or any(value is not None for value in rest):
        return None
    return first if call.builder.fake_of(first).dtype in _MASKS else None


@translates("copy")
def copy(call: Call) -> None:
    """Write one array over all of another: the new one in the old one's shape and dtype."""
    value = operand(call, "src", call.result.dtype)
    if tuple(call.fake("src").shape) != tuple(call.fake().shape):
        value = call.step("expand", (value, call.step("shape", (call.value("self"),))))
    call.same(value)


@translates("slice_scatter")
def slice_scatter(call: Call) -> None:
    first, last = call.arguments.get("start"), call.arguments.get("end")
    ends = call.sizes([0 if first is None else first, _LAST if last is None else last])
    inputs = (call.value("self"), operand(call, "src", call.result.dtype), ends)
    call.answer("put_slice", inputs, axis=call.axis(), step=int(call.get("step", 1)))


@translates("select_scatter")
def select_scatter(call: Call) -> None:
    place, axis = int(call.get("index")), call.axis()
    ends = call.sizes([place, _LAST if place == -1 else place + 1])
    value = call.step("unsqueeze", (operand(call, "src", call.result.dtype),), axes=(axis,))
    call.answer("put_slice", (call.value("self"), value, ends), axis=axis, step=1)


_REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min", "add": "add",
               "multiply": "mul", None: "none"}  # fmt: skip


@translates("scatter", "scatter_add", "scatter_reduce")
def scatter(call: Call) -> None:
    if call.rank() == 0 or call.rank("index") == 0:
        raise Unsupported("of a scalar")
    reduction = "sum" if call.op == "scatter_add" else call.get("reduce")
    if reduction not in _REDUCTIONS:
        raise Unsupported(f"reduce={reduction!r}")
    if call.op == "scatter_reduce" and not call.get("include_self", True):
        raise Unsupported("include_self=False")
    index = call.value("index")
    if call.has("src"):
        updates = operand(call, "src", call.result.dtype)
    else:
        value = operand(call, "value", call.result.dtype)
        updates = call.step("expand", (value, call.step("shape", (index,))))
    inputs = (call.value("self"), index, updates)
    call.answer("put_elements", inputs, axis=call.axis(), reduction=_REDUCTIONS[reduction])


@translates("diagonal")
def diagonal(call: Call) -> None:
    axes = tuple(int(call.get(name)) % call.rank() for name in ("dim1", "dim2"))
    call.answer("diagonal", offset=int(call.get("offset")), axes=axes)


@translates("cummax", "cummin")
def running_extreme(call: Call) -> None:
    if call.rank() == 0:
        raise Unsupported("of a scalar")
    options = {"axis": call.axis(), "largest": call.op == "cummax"}
    call.several("running_extreme", (call.value("self"),), 2, **options)


@translates("logcumsumexp")
def running_log_sum(call: Call) -> None:
    if call.rank() == 0 or not call.result.dtype.is_floating_point:
        raise Unsupported("of a scalar or integers")
    call.answer("running_log_sum", axis=call.axis())


@translates("kthvalue", "median")
def ranked(call: Call) -> None:
    """Take one of the sorted values; NaN is the largest, and the median of any is NaN."""
    if call.op == "median" and call.overload != "dim":
        value = call.step("reshape", (call.value("self"), call.sizes([-1])))
        axis, keep = 0, False
        length: int | str = call.step("size_of", (value,), axis=0)
    else:
        axis, keep = call.axis(), bool(call.get("keepdim"))
        value, length = call.value("self"), call.size(axis)
    whole = call.sizes([length])
    is_float = call.fake().dtype.is_floating_point
    k = call.arguments.get("k") if call.op == "kthvalue" else None
    if k is None:
        one, two = (call.constant(np.array([n], np.int64)) for n in (1, 2))
        count = call.step("floor_divide", (call.step("add", (whole, one)), two))
    else:
        count = call.sizes([k])
    values, places = call.builder.steps(call.node, "top_k", (value, count), 2,
                                        {"axis": axis, "largest": False})  # fmt: skip
    last = call.constant(np.array([-1], np.int64))
    found = [call.step("gather", (each, last), axis=axis) for each in (values, places)]
    if call.op == "median" and is_float:
        if call.overload == "dim" and call.reads(1):
            raise Unsupported("the places of medians")
        is_nan = call.step(
            "is_nan", (call.step("reduce_sum", (value,), axes=(axis,), keepdims=True),)
        )
        nan = call.constant(np.array(np.nan, numpy_dtype(call.fake().dtype)))
        found[0] = call.step("where", (is_nan, nan, found[0]))
    if not keep:
        found = [call.step("squeeze", (each,), axes=(axis,)) for each in found]
    if call.op == "median" and call.overload != "dim":
        call.same(found[0])
    else:
        call.builder.parts[call.node] = dict(enumerate(found))


@translates("bucketize", "searchsorted")
def bucket(call: Call) -> None:
    edges = "boundaries" if call.op == "bucketize" else "sorted_sequence"
    side = "right" if call.get("right", False) or call.get("side") == "right" else "left"
    if call.overload != "Tensor" or call.rank(edges) != 1 or call.get("sorter") is not None:
        raise Unsupported("of scalars, or of edges that are not one vector")
    dtype = numpy_dtype(call.result.dtype)
    inputs = (call.value("self"), call.value(edges))
    call.answer("bucket", inputs, right=side == "right", dtype=dtype)


@translates("_cdist_forward")
def pairwise_distances(call: Call) -> None:
    """Measure every row of one matrix against every row of another, by their differences."""
    order = float(call.get("p"))
    op = {1.0: "reduce_l1", 2.0: "reduce_l2"}.get(order)
    if op is None and order != float("inf"):
        raise Unsupported(f"p={order}")
    rank = call.rank("x1")
    first = call.step("unsqueeze", (call.value("x1"),), axes=(rank - 1,))
    second = call.step("unsqueeze", (call.value("x2"),), axes=(rank - 2,))
    distance = call.step("sub", (first, second))
    if op is None:
        distance = call.step("abs", (distance,))
    call.answer(op or "reduce_max", (distance,), axes=(rank,), keepdims=False)
