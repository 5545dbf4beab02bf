"""Operations that are products of matrices: matmul, gemm, einsum, attention.

All of them come to batches of products on this package's own kernels and threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

import fastconv.functional as functional
from fastconv.functional.products import attend
from fastconv.network.trace import Traced
from fastconv.network.wide import in_float32
from fastconv.problem.values import FLOATS, INTEGERS, SIXTEEN

_MULTIPLIED = (*FLOATS, *INTEGERS, "complex64", "complex128")


def matmul(a: Any, b: Any) -> Any:
    """Multiply matrices; a constant one on the right is packed once, as ``linear`` does."""
    if a.dtype != b.dtype:
        common = np.result_type(a.dtype, b.dtype)
        a, b = a.astype(common), b.astype(common)
    constant = isinstance(a, Traced) and not isinstance(b, Traced)
    if constant and len(b.shape) == 2 and len(a.shape) >= 1 and a.dtype.name in FLOATS:
        return functional.linear(a, np.transpose(b))
    if a.dtype.name not in _MULTIPLIED:
        return np.matmul(a, b)
    product = functional.matmul(a, b)
    return product if product.dtype == a.dtype else product.astype(a.dtype)


def gemm(
    a: Any, b: Any, c: Any = None, alpha: float = 1.0, beta: float = 1.0,
    transpose_a: bool = False, transpose_b: bool = False,
) -> Any:  # fmt: skip
    """Alpha op(a) op(b) + beta c, as BLAS has it."""
    left = np.transpose(a) if transpose_a else a
    constant = not isinstance(b, Traced) and not isinstance(c, Traced)
    if alpha == 1 and a.dtype.name in FLOATS and constant:
        weight = b if transpose_b else np.transpose(b)
        if c is None or (beta == 1 and tuple(c.shape) == tuple(weight.shape[:1])):
            return functional.linear(left, weight, c)
    return _scaled_gemm(left, np.transpose(b) if transpose_b else b, c, alpha=alpha, beta=beta)


@in_float32
def _scaled_gemm(a: Any, b: Any, c: Any, *, alpha: float, beta: float) -> Any:
    product = matmul(a, b)
    if alpha != 1:
        product = product * a.dtype.type(alpha)
    if c is None:
        return product
    return product + (c if beta == 1 else c * a.dtype.type(beta))


def attention(
    query: Any, key: Any, value: Any, mask: Any = None, *, scale: float | None = None,
    causal: int | None = None, zeros: bool = True, shared: bool = False,
) -> Any:  # fmt: skip
    """Weigh values by softmax(scale query key^T + mask); the options are `AttentionProblem`'s."""
    return attend(query, key, value, mask, scale=scale, causal=causal, zeros=zeros, shared=shared)


def onnx_attention(
    query: Any, key: Any, value: Any, mask: Any = None, past_key: Any = None,
    past_value: Any = None, known: Any = None, *, scale: float | None, causal: bool,
    heads: tuple[int, int] | None, softcap: float, precision: Any, mode: int,
    window: tuple[int, int], scores: bool,
) -> Any:  # fmt: skip
    """Attend as ONNX's operator does: (result, keys, values), and scores where they are asked for.

    ``heads`` are those of queries and of keys, for arrays of three axes; ``known`` keys of each
    image are not padding; ``window`` are keys before and after a query that it sees, -1: all.
    """
    flat = len(query.shape) == 3
    if flat:
        if heads is None:
            raise ValueError("Attention of 3D inputs needs q_num_heads and kv_num_heads")
        query, key, value = (
            np.transpose(v.reshape((*v.shape[:2], n, v.shape[2] // n)), (0, 2, 1, 3))
            for v, n in ((query, heads[0]), (key, heads[1]), (value, heads[1]))
        )
    before = 0 if past_key is None else int(past_key.shape[2])
    key = key if past_key is None else np.concatenate((past_key, key), axis=2)
    value = value if past_value is None else np.concatenate((past_value, value), axis=2)
    mask = _padded(mask, int(key.shape[2]))
    shared = query.shape[1] != key.shape[1]
    plain = known is None and not softcap and not scores and max(window) < 0
    narrow = precision is None or np.dtype(precision).itemsize <= max(4, query.dtype.itemsize)
    if plain and narrow:
        result = attention(
            query, key, value, mask, scale=scale, causal=before if causal else None, shared=shared
        )
    else:
        bias = _bias(query, key, mask, known, causal, before, window)
        if shared:
            times = query.shape[1] // key.shape[1]
            key_of, value_of = (np.concatenate([v[:, i : i + 1] for i in range(v.shape[1])
                                for _ in range(times)], axis=1) for v in (key, value))  # fmt: skip
        else:
            key_of, value_of = key, value
        result, shown = _by_steps(query, key_of, value_of, bias, scale, softcap, precision, mode)
    if flat:
        turned = np.transpose(result, (0, 2, 1, 3))
        result = turned.reshape((*turned.shape[:2], turned.shape[2] * turned.shape[3]))
    return (result, key, value, shown) if scores else (result, key, value)


def _padded(mask: Any, keys: int) -> Any:
    """Return a mask of as many keys as there are: those that it lacks are not seen."""
    if mask is None or mask.shape[-1] >= keys:
        return mask
    least = False if mask.dtype == np.dtype(bool) else -np.inf
    more = np.full((*mask.shape[:-1], keys - mask.shape[-1]), least, mask.dtype)
    return np.concatenate((mask, more), axis=-1)


def _bias(
    query: Any, key: Any, mask: Any, known: Any, causal: bool, before: int, window: tuple[int, int]
) -> Any:
    """Return all that is added to scores, as one value that broadcasts to them; None: nothing."""
    dtype, queries, keys = query.dtype, int(query.shape[2]), int(key.shape[2])
    zero, least = np.zeros((), dtype), np.full((), -np.inf, dtype)
    bias = mask
    if mask is not None and mask.dtype == np.dtype(bool):
        bias = np.where(mask, zero, least)
    at: Any = np.arange(queries, dtype=np.int64)[:, None] + before
    if known is not None:
        lengths = known.astype(np.dtype(np.int64)).reshape((-1, 1, 1, 1))
        padding = np.where(np.arange(keys, dtype=np.int64) < lengths, zero, least)
        bias = padding if bias is None else bias + padding
        if before == 0:
            at = np.arange(queries, dtype=np.int64)[:, None] + (lengths - queries)
    places = np.arange(keys, dtype=np.int64)
    limits = [places <= at] if causal else []
    limits += [places >= at - window[0]] if window[0] >= 0 else []
    limits += [places <= at + window[1]] if window[1] >= 0 else []
    for seen in limits:
        some = np.where(seen, zero, least)
        bias = some if bias is None else bias + some
    return bias


def _by_steps(
    query: Any, key: Any, value: Any, bias: Any, scale: float | None, softcap: float,
    precision: Any, mode: int,
) -> tuple[Any, Any]:  # fmt: skip
    """Attend step by step; return the result, and the scores of a mode of ONNX's operator."""
    dtype = query.dtype
    root = dtype.type(np.sqrt(1 / np.sqrt(query.shape[-1]) if scale is None else scale))
    shown = product = matmul(query * root, np.transpose(key, (0, 1, 3, 2)) * root)
    if softcap:
        shown = product = np.tanh(product / dtype.type(softcap)) * dtype.type(softcap)
    if bias is not None:
        product = product + bias
    if mode == 2:
        shown = product
    wide = product if precision is None else product.astype(np.dtype(precision))
    weights = functional.softmax(wide, dim=3)
    empty = np.max(product, axis=-1, keepdims=True) == dtype.type(-np.inf)
    weights = np.where(empty, np.zeros((), weights.dtype), weights).astype(dtype)
    if mode == 3:
        shown = weights
    return matmul(weights, value), shown


class _Labelled:
    """A value whose axes have labels, each once."""

    def __init__(self, value: Any, labels: Sequence[str]) -> None:
        self.value, self.labels = value, tuple(labels)

    def length(self, label: str) -> int:
        return int(self.value.shape[self.labels.index(label)])

    def ordered(self, labels: Sequence[str]) -> Any:
        """Return the value with its axes in this order."""
        order = tuple(self.labels.index(label) for label in labels)
        same = order == tuple(range(len(order)))
        return self.value if same else np.transpose(self.value, order)

    def without(self, labels: Sequence[str]) -> _Labelled:
        """Sum over axes."""
        gone = tuple(self.labels.index(label) for label in labels)
        if not gone:
            return self
        rest = [label for label in self.labels if label not in labels]
        if all(self.value.shape[axis] == 1 for axis in gone):
            return _Labelled(self.value.reshape(tuple(map(self.length, rest))), rest)
        # As NumPy's einsum: a sum has the dtype of its terms.
        return _Labelled(np.sum(self.value, axis=gone).astype(self.value.dtype), rest)


def einsum(*values: Any, equation: str) -> Any:
    """Sum products of elements by Einstein's convention: products of two values at a time.

    A repeated label takes a diagonal, one of a single value is summed, and what two values share
    is a batch or is contracted by `matmul`.
    """
    terms, output = _parsed(equation, [len(v.shape) for v in values])
    dtype = values[0].dtype
    if dtype.name in SIXTEEN:
        wide = np.dtype(np.float32)
        return einsum(*(v.astype(wide) for v in values), equation=equation).astype(dtype)
    sizes: dict[str, int] = {}
    for value, term in zip(values, terms, strict=True):
        for label, length in zip(term, value.shape, strict=True):
            known = sizes.setdefault(label, length)
            if known == 1:
                sizes[label] = length
            elif length not in (1, known):
                raise ValueError(
                    f"einsum {equation!r}: a subscript has size {length} for an operand of shape "
                    f"{list(value.shape)}, which does not broadcast with {sizes[label]}"
                )
    parts = [_diagonal(v, term) for v, term in zip(values, terms, strict=True)]
    # What is of length one where others are longer is the same for all of them.
    parts = [p.without([s for s in p.labels if p.length(s) < sizes[s]]) for p in parts]
    for chosen in _path(parts, output):
        taken = [parts[i] for i in sorted(chosen)]
        parts = [p for i, p in enumerate(parts) if i not in chosen]
        result = taken[0]
        for place, other in enumerate(taken[1:], 2):
            rest = {*output, *itertools.chain(*(p.labels for p in (*parts, *taken[place:])))}
            result = _contracted(result, other, rest)
        parts.append(result)
    (last,) = parts
    last = last.without([label for label in last.labels if label not in output])
    missing = [label for label in output if label not in last.labels]
    if missing:
        # Only of length one somewhere, and squeezed there: broadcast again.
        full = _Labelled(
            last.value.reshape((*last.value.shape, *(1,) * len(missing))), (*last.labels, *missing)
        )
        wanted = tuple(sizes[label] for label in output)
        return np.broadcast_to(full.ordered(output), wanted)
    return last.ordered(output)


def _parsed(equation: str, ranks: Sequence[int]) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
    """Return the labels of each value and of the result; axes of an ellipsis are numbers."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise ValueError(
            f"einsum {equation!r}: more operands were provided than specified in the equation, or "
            f"fewer: {len(ranks)} for {len(texts)}"
        )
    terms: list[tuple[str, ...]] = []
    widest = 0
    for text, rank in zip(texts, ranks, strict=True):
        before, dots, after = text.partition("...")
        names = before + after
        if "." in names or not (names.isalpha() or not names):
            raise ValueError(f"einsum {equation!r}: invalid subscript given in {text!r}")
        free = rank - len(names)
        if free < 0 or (free and not dots):
            raise ValueError(
                f"einsum {equation!r}: the number of subscripts in {text!r} does not match the "
                f"number of dimensions {rank}"
            )
        widest = max(widest, free)
        terms.append((*before, *(str(i) for i in range(-free, 0)), *after))
    every = tuple(itertools.chain(*terms))
    hidden = tuple(str(i) for i in range(-widest, 0))
    if arrow:
        before, dots, after = right.partition("...")
        output = (*before, *(hidden if dots else ()), *after)
    else:
        output = (*hidden, *sorted(s for s in set(every) if every.count(s) == 1 and s.isalpha()))
    unknown = [label for label in output if label not in every]
    if unknown or len(set(output)) < len(output):
        raise ValueError(
            f"einsum {equation!r}: output subscript {(unknown or [right])[0]!r} does not appear in "
            "the equation for any input operand, or appears twice"
        )
    return terms, output


def _diagonal(value: Any, term: tuple[str, ...]) -> _Labelled:
    """Take the diagonal of each label that a value has more than once."""
    labels = list(term)
    for label in dict.fromkeys(term):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            rest = [i for i in range(len(labels)) if i not in (first, second)]
            length = value.shape[first]
            if value.shape[second] != length:
                raise ValueError(
                    f"einsum: subscript {label!r} is repeated for an operand, but its sizes "
                    f"{length} and {value.shape[second]} don't match"
                )
            turned = np.transpose(value, (*rest, first, second))
            lead = tuple(turned.shape[:-2])
            value = turned.reshape((*lead, length * length))[..., :: length + 1]
            labels = [*(labels[i] for i in rest), label]
    return _Labelled(value, labels)


def _path(parts: Sequence[_Labelled], output: Sequence[str]) -> list[tuple[int, ...]]:
    """Return which values are contracted with each other, one step after the other."""
    if len(parts) < 2:
        return []
    if len(parts) == 2:
        return [(0, 1)]
    names = {s: chr(ord("a") + i) if i < 26 else chr(ord("A") + i - 26) for i, s in enumerate(
        dict.fromkeys(itertools.chain(*(p.labels for p in parts))))}  # fmt: skip
    left = ",".join("".join(names[s] for s in p.labels) for p in parts)
    right = "".join(names[s] for s in output if s in names)
    shaped = [np.broadcast_to(np.float32(0), p.value.shape) for p in parts]
    steps = np.einsum_path(f"{left}->{right}", *shaped, optimize="greedy")[0][1:]
    return [tuple(step) for step in steps]


def _contracted(left: _Labelled, right: _Labelled, rest: set[str]) -> _Labelled:
    """Multiply two values and sum over what only they have."""
    left = left.without([s for s in left.labels if s not in rest and s not in right.labels])
    right = right.without([s for s in right.labels if s not in rest and s not in left.labels])
    both = [s for s in left.labels if s in right.labels]
    batch, summed = [s for s in both if s in rest], [s for s in both if s not in rest]
    own = [s for s in left.labels if s not in both]
    other = [s for s in right.labels if s not in both]
    labels = (*batch, *own, *other)
    lengths = {s: p.length(s) for p in (left, right) for s in p.labels}

    def sizes(names: Sequence[str]) -> tuple[int, ...]:
        return tuple(lengths[s] for s in names)

    if not summed:
        first = left.ordered((*batch, *own)).reshape((*sizes((*batch, *own)), *(1,) * len(other)))
        shape = (*sizes(batch), *(1,) * len(own), *sizes(other))
        return _Labelled(first * right.ordered((*batch, *other)).reshape(shape), labels)
    rows, depth, columns = prod(sizes(own)), prod(sizes(summed)), prod(sizes(other))
    first = left.ordered((*batch, *own, *summed)).reshape((*sizes(batch), rows, depth))
    second = right.ordered((*batch, *summed, *other)).reshape((*sizes(batch), depth, columns))
    return _Labelled(matmul(first, second).reshape(sizes(labels)), labels)


PRODUCTS: dict[str, Callable[..., Any]] = {
    "attention": attention,
    "einsum": einsum,
    "gemm": gemm,
    "matmul": matmul,
    "onnx_attention": onnx_attention,
}
