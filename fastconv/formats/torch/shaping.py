"""Calls that move values without computing: shapes, slices, joins, new arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastconv.formats.torch.arithmetic import operand
from fastconv.formats.torch.call import (
    Call,
    Unsupported,
    length,
    lengths,
    lengths_or_none,
    numpy_dtype,
    translates,
)


@translates("sym_size")
def size(call: Call) -> None:
    call.answer("size_of", axis=call.axis())


@translates("view", "reshape", "_unsafe_view", "_reshape_copy")
def reshape(call: Call) -> None:
    _reshape(call, call.given("size", "shape"))


def _reshape(call: Call, target: Sequence[Any]) -> None:
    """Reshape; a single length that is open is worked out when it runs."""
    open_ = [place for place, size in enumerate(target) if call.builder.is_open(size)]
    known = [int(call.builder.settled(v)) for i, v in enumerate(target) if i not in open_]
    if not open_ or (len(open_) == 1 and all(size > 0 for size in known)):
        target = [-1 if i in open_ else v for i, v in enumerate(target)]
    call.answer("reshape", (call.value("self"), call.sizes(target)), allow_zero=True)


@translates("view_as", "expand_as")
def like_other(call: Call) -> None:
    op = "reshape" if call.op == "view_as" else "expand"
    options = {"allow_zero": True} if op == "reshape" else {}
    shape = call.step("shape", (call.value("other"),))
    call.answer(op, (call.value("self"), shape), **options)


@translates("flatten")
def flatten(call: Call) -> None:
    rank = call.rank()
    if rank == 0:
        call.answer("reshape", (call.value("self"), call.sizes([1])))
        return
    first, last = int(call.get("start_dim")) % rank, int(call.get("end_dim")) % rank
    if first == 1 and last == rank - 1 and rank > 1:
        call.answer("flatten", axis=1)
        return
    merged = lengths_or_none(call.fake().shape[first : last + 1])
    target = [
        *(call.size(axis) for axis in range(first)),
        -1 if merged is None else math.prod(merged),
        *(call.size(axis) for axis in range(last + 1, rank)),
    ]
    call.answer("reshape", (call.value("self"), call.sizes(target)), allow_zero=True)


@translates("permute")
def permute(call: Call) -> None:
    call.answer("transpose", axes=tuple(int(d) % call.rank() for d in call.get("dims")))


@translates("transpose", "swapaxes")
def transpose(call: Call) -> None:
    rank = call.rank()
    names = ("dim0", "dim1") if "dim0" in call.arguments else ("axis0", "axis1")
    first, second = (int(call.get(name)) % max(1, rank) for name in names)
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    call.answer("transpose", axes=tuple(order))


@translates("t", "numpy_T")
def turned(call: Call) -> None:
    call.answer("transpose", axes=tuple(reversed(range(call.rank()))))


@translates("squeeze")
def squeeze(call: Call) -> None:
    """Remove lengths of 1; an open length, which the trace keeps, must then not be 1."""
    shape = call.fake().shape
    given = call.get("dim") if "dim" in call.arguments else tuple(range(len(shape)))
    dims = given if isinstance(given, (list, tuple)) else (given,)
    places = [int(d) % max(1, len(shape)) for d in dims] if shape else []
    value = call.value("self")
    kept = [place for place in places if length(shape[place]) is None]
    if kept:
        name = call.arguments["self"].name
        conditions = [
            (f"{name}.shape[{place}] != 1", ("!=", ("size", 0, place), ("number", 1)))
            for place in kept
        ]
        value = call.step("require_sizes", (value,), conditions=tuple(conditions))
    ones = tuple(place for place in places if length(shape[place]) == 1)
    if ones:
        call.answer("squeeze", (value,), axes=ones)
    else:
        call.same(value)


@translates("unsqueeze")
def unsqueeze(call: Call) -> None:
    call.answer("unsqueeze", axes=(int(call.get("dim")) % (call.rank() + 1),))


@translates("expand")
def expand(call: Call) -> None:
    # -1 keeps a length, as 1 does where shapes are broadcast.
    sizes = [1 if size == -1 else size for size in call.arguments["size"]]
    call.answer("expand", (call.value("self"), call.sizes(sizes)))


@translates("repeat")
def repeat(call: Call) -> None:
    value, repeats = call.value("self"), call.arguments["repeats"]
    more = len(repeats) - call.rank()
    if more > 0:
        value = call.step("unsqueeze", (value,), axes=tuple(range(more)))
    call.answer("tile", (value, call.sizes(repeats)))


@translates("cat", "concat", "concatenate")
def concatenate(call: Call) -> None:
    tensors = call.arguments["tensors"]
    fakes = [call.builder.fake_of(t) for t in tensors]
    rank = len(call.result.shape)
    if any(len(fake.shape) != rank for fake in fakes):
        raise Unsupported("of an empty vector")
    names = []
    for tensor, fake in zip(tensors, fakes, strict=True):
        name = call.builder.name_of(tensor)
        if fake.dtype != call.result.dtype:
            name = call.step("cast", (name,), dtype=numpy_dtype(call.result.dtype))
        names.append(name)
    call.answer("concat", names, axis=int(call.get("dim")) % rank)


@translates("stack")
def stack(call: Call) -> None:
    rank = len(call.result.shape)
    axis = int(call.get("dim")) % rank
    tensors = call.arguments["tensors"]
    if any(call.builder.fake_of(t).dtype != call.result.dtype for t in tensors):
        raise Unsupported("of several dtypes")
    names = [
        call.step("unsqueeze", (call.builder.name_of(tensor),), axes=(axis,)) for tensor in tensors
    ]
    call.answer("concat", names, axis=axis)


@translates("split", "split_with_sizes", "chunk", "unsafe_split", "tensor_split")
def split(call: Call) -> None:
    axis = call.axis()
    if call.op == "chunk" and length(call.fake().shape[axis]) is None:
        parts = len(call.result)
        call.several("split", (call.value("self"),), parts, parts=parts, axis=axis)
        return
    known = [length(part.shape[axis]) for part in call.result]
    size = call.arguments.get("split_size")
    if call.op == "split" and None in known and not isinstance(size, (list, tuple)):
        # All parts are of one size but for the last, which has what is left.
        rest = [call.size(axis), *[size] * (len(known) - 1)]
        last = call.sizes(rest[:1])
        for each in rest[1:]:
            last = call.step("sub", (last, call.sizes([each])))
        names = [*(call.sizes([each]) for each in rest[1:]), last]
        inputs = (call.value("self"), call.step("concat", names, axis=0))
        call.several("split", inputs, len(known), axis=axis)
        return
    sections = lengths([part.shape[axis] for part in call.result])
    call.several("split", (call.value("self"),), len(sections), sections=sections, axis=axis)


@translates("unbind")
def unbind(call: Call) -> None:
    axis, value = call.axis(), call.value("self")
    call.builder.parts[call.node] = {
        place: call.step("gather", (value,), indices=place, axis=axis)
        for place in range(len(call.result))
    }


@translates("slice")
def slice_(call: Call) -> None:
    axis = call.axis()
    start, end, step = (call.arguments.get(name) for name in ("start", "end", "step"))
    first = 0 if start is None else start
    last = np.iinfo(np.int64).max if end is None else end
    stride = 1 if step is None else step
    if call.builder.is_open((first, last, stride)):
        ranges = [call.sizes([value]) for value in (first, last)]
        axes, steps = call.constant(np.array([axis])), call.sizes([stride])
        call.answer("slice", (call.value("self"), *ranges, axes, steps))
        return
    first, last, stride = call.builder.settled((first, last, stride))
    if (first, stride) == (0, 1) and last >= np.iinfo(np.int64).max:
        call.same(call.value("self"))
        return
    options = {"starts": (first,), "ends": (last,), "axes": (axis,), "steps": (stride,)}
    call.answer("slice", **options)


@translates("select")
def select(call: Call) -> None:
    call.answer("gather", indices=int(call.get("index")), axis=call.axis())


@translates("index_select")
def index_select(call: Call) -> None:
    call.answer("gather", (call.value("self"), call.value("index")), axis=call.axis())


@translates("embedding")
def embedding(call: Call) -> None:
    call.answer("gather", (call.value("weight"), call.value("indices")), axis=0)


@translates("flip")
def flip(call: Call) -> None:
    rank, axes = call.rank(), call.get("dims")
    places = tuple(int(a) % rank for a in axes)
    ends, steps = (np.iinfo(np.int64).min,) * len(places), (-1,) * len(places)
    call.answer("slice", starts=(-1,) * len(places), ends=ends, axes=places, steps=steps)


@translates("full_like", "zeros_like", "ones_like", "empty_like")
def filled_like(call: Call) -> None:
    value = {"zeros_like": 0, "ones_like": 1, "empty_like": 0}.get(call.op)
    value = call.get("fill_value") if value is None else value
    _filled(call, call.step("shape", (call.value("self"),)), value)


@translates(
    "full", "zeros", "ones", "new_zeros", "new_ones", "new_full", "empty", "new_empty",
    "empty_permuted",
)  # fmt: skip
def filled(call: Call) -> None:
    # What is empty holds anything until it is written to.
    value = (
        0
        if "zeros" in call.op or "empty" in call.op
        else 1
        if "ones" in call.op
        else call.get("fill_value")
    )
    _filled(call, call.sizes(call.arguments["size"]), value)


def _filled(call: Call, shape: str, value: Any) -> None:
    call.answer("filled", (shape,), value=numpy_dtype(call.result.dtype).type(value))


@translates("fill")
def fill(call: Call) -> None:
    """Put one value everywhere."""
    value = operand(call, "value", call.result.dtype)
    call.answer("expand", (value, call.step("shape", (call.value("self"),))))


@translates("arange")
def arange(call: Call) -> None:
    dtype = call.result.dtype
    values = {"start": 0, "step": 1, **{k: v for k, v in call.arguments.items() if v is not None}}
    names = []
    for name in ("start", "end", "step"):
        call.arguments[name] = values[name]
        names.append(operand(call, name, dtype))
    call.answer("range", names)


@translates("scalar_tensor")
def scalar_tensor(call: Call) -> None:
    call.answer("identity", (operand(call, "s", call.result.dtype),))


@translates("meshgrid")
def meshgrid(call: Call) -> None:
    vectors = [call.builder.name_of(vector) for vector in call.arguments["tensors"]]
    n = len(vectors)
    order = (1, 0, *range(2, n)) if call.get("indexing", "ij") == "xy" and n > 1 else range(n)
    sizes = [call.step("size_of", (vector,), axis=0) for vector in vectors]
    target = call.step("stack_sizes", [sizes[i] for i in order], template=(None,) * n)
    parts = {}
    for place, vector in enumerate(vectors):
        others = tuple(axis for axis, i in enumerate(order) if i != place)
        line = call.step("unsqueeze", (vector,), axes=others) if others else vector
        parts[place] = call.step("expand", (line, target))
    call.builder.parts[call.node] = parts
