"""Scaled dot product attention, read where queries, keys and values are stored."""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from fastconv.problem.base import ArraySpec, Problem, Shape
from fastconv.problem.matmul import DTYPES, Matrices
from fastconv.problem.moves import strides_of
from fastconv.problem.record import record
from fastconv.problem.remember import remembered
from fastconv.problem.values import check_dtype, check_same_dtype


@record(frozen=True)
class AttentionProblem(Problem):
    """softmax(scale * query @ key^T + mask) @ value for each entry of a batch of ``lengths``.

    Query i of ``queries`` sees the keys up to ``i + causal``; all of them where that is None. A
    query that sees nothing, since all of its scores are -inf, gives zeros with ``zeros``, NaN
    without. ``target`` is as in `MatmulProblem`. Vaswani et al., Attention is all you need, 2017.
    """

    lengths: Shape
    queries: int
    keys: int
    width: int
    value_width: int
    query: Matrices
    key: Matrices
    value: Matrices
    mask: Matrices | None
    output: Shape
    target: tuple[int, ...]
    scale: float
    causal: int | None = None
    zeros: bool = True

    @classmethod
    @remembered
    def of(
        cls,
        query: ArraySpec,
        key: ArraySpec,
        value: ArraySpec,
        mask: ArraySpec | None = None,
        *,
        scale: float | None = None,
        causal: int | None = None,
        zeros: bool = True,
        shared: bool = False,
    ) -> AttentionProblem:
        """Validate (..., L, E), (..., S, E), (..., S, Ev), and a mask for (..., L, S).

        With ``shared``, groups of neighbouring heads (the last batch axis) share keys and values.
        """
        dtype = check_dtype(query, DTYPES, "query of scaled_dot_product_attention")
        for other, name in ((key, "key"), (value, "value"), (mask, "attn_mask")):
            if other is not None:
                check_same_dtype(query, other, ("query", name))
        q, k, v = (tuple(a.shape) for a in (query, key, value))
        where = f"but got query {list(q)}, key {list(k)}, value {list(v)}"
        if min(len(q), len(k), len(v)) < 2:
            raise ValueError(
                f"query, key and value of scaled_dot_product_attention must be at least 2D, {where}"
            )
        if q[-1] != k[-1] or k[-2] != v[-2]:
            raise ValueError(
                "mat1 and mat2 shapes cannot be multiplied: query and key of "
                "scaled_dot_product_attention must have the same last axis, key and value as many "
                f"rows, {where}"
            )
        m = () if mask is None else (1,) * (2 - len(mask.shape)) + tuple(mask.shape)
        split = 1
        if shared:
            heads = (q[-3:-2], k[-3:-2], v[-3:-2])
            if not all(heads) or k[-3] != v[-3] or k[-3] == 0 or q[-3] % k[-3]:
                raise ValueError(
                    "query heads of scaled_dot_product_attention must be a multiple of those of "
                    f"key and value, which are alike, {where}"
                )
            split = q[-3] // k[-3]
        try:
            if split > 1:
                q, k, v, m = _grouped(q, k, v, m, split)
            lengths = tuple(np.broadcast_shapes(q[:-2], k[:-2], v[:-2], m[:-2]))
            np.broadcast_to(np.zeros(()), (q[-2], k[-2]))
            if m and np.broadcast_shapes(m[-2:], (q[-2], k[-2])) != (q[-2], k[-2]):
                raise ValueError
        except ValueError:
            seen = "" if mask is None else f", attn_mask {list(mask.shape)}"
            raise ValueError(
                "the batch axes of scaled_dot_product_attention must broadcast, and attn_mask to "
                f"(..., queries, keys), {where}{seen}"
            ) from None
        output = (*lengths, q[-2], v[-1])
        masked = None
        if mask is not None:
            masked = Matrices.of(m, lengths)
            steps = (*masked.steps[:-2], *(0 if n == 1 else s for n, s in
                     zip(m[-2:], masked.steps[-2:], strict=True)))  # fmt: skip
            masked = Matrices(m, 0, steps)
        return cls(
            dtype, lengths, q[-2], k[-2], q[-1], v[-1],
            Matrices.of(q, lengths), Matrices.of(k, lengths), Matrices.of(v, lengths), masked,
            (*output[:-4], output[-4] * split, *output[-2:]) if split > 1 else output,
            strides_of(output)[:-1],
            1 / sqrt(max(1, q[-1])) if scale is None else float(scale), causal, zeros,
        )  # fmt: skip

    @property
    def name(self) -> str:
        return "scaled_dot_product_attention"

    @property
    def input_shape(self) -> Shape:
        return self.query.shape

    @property
    def output_shape(self) -> Shape:
        return self.output

    @property
    def sum_length(self) -> int:
        """Products summed into one score, and one result, together."""
        return self.width + self.keys

    @property
    def macs(self) -> int:
        return prod(self.lengths) * self.queries * self.keys * (self.width + self.value_width)

    @property
    def bytes(self) -> int:
        arrays = (self.query, self.key, self.value, *([self.mask] if self.mask else []))
        cells = sum(prod(a.shape) for a in arrays) + prod(self.output)
        return cells * self.dtype.itemsize


def _grouped(q: Shape, k: Shape, v: Shape, m: Shape, split: int) -> tuple[Shape, ...]:
    """Cut the axis of heads in two: groups, and the queries' heads of a group."""
    q = (*q[:-3], q[-3] // split, split, *q[-2:])
    k, v = (*k[:-2], 1, *k[-2:]), (*v[:-2], 1, *v[-2:])
    if len(m) > 2:
        heads = (1, 1) if m[-3] == 1 else (m[-3] // split, split)
        m = (*m[:-3], *heads, *m[-2:])
    return q, k, v, m
