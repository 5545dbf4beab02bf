"""fastconv as a contestant: called as users call it, inside a network, or by one algorithm."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastconv
from benchmarks.cases import CHANNELS_LAST, Array, Case
from benchmarks.rival import Rival
from fastconv.dispatch import Parameter

_NN_NAMES = {"lp_pool": "LPPool"}


class Call:
    """``fastconv.conv2d(x, weight, ...)`` with the weight a Parameter, so packed once."""

    def __init__(self, name: str = "fastconv", *, last: bool = False, **forced: str | None) -> None:
        self.name = name
        self._last = last
        self._forced = forced

    def missing(self) -> str | None:
        return None

    def can(self, case: Case) -> str | None:
        return None

    def build(self, case: Case, threads: int) -> Rival:
        x, weight = case.operands()
        function = getattr(fastconv, case.op)
        options: dict[str, Any] = {**case.options, **self._forced}
        if self._last:
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
            options["layout"] = CHANNELS_LAST[case.n]
        if weight is None:
            run = lambda: function(x, **options)  # noqa: E731
        else:
            parameter = Parameter(weight)
            run = lambda: function(x, parameter, **options)  # noqa: E731
        back = (lambda: np.moveaxis(run(), -1, 1)) if self._last else run
        return Rival(run, back, with_threads(threads))


class InNetwork:
    """A network of one layer: what is left of a call when its arguments are known beforehand."""

    name = "network"

    def missing(self) -> str | None:
        return None

    def can(self, case: Case) -> str | None:
        return None

    def build(self, case: Case, threads: int) -> Rival:
        x, weight = case.operands()
        network = fastconv.compile(module(case, weight), case.shape, case.dtype)
        run = lambda: network(x)  # noqa: E731
        return Rival(run, run, with_threads(threads))


def module(case: Case, weight: Array | None) -> Any:
    """Give the case as a layer of ``fastconv.nn``."""
    words = _NN_NAMES.get(case.kind) or "".join(w.capitalize() for w in case.kind.split("_"))
    layer = getattr(fastconv.nn, f"{words}{case.n}d")
    if weight is None:
        return layer(**case.options)
    sizes = (case.channels, case.out_channels, case.kernel)
    made = layer(*sizes, bias=False, dtype="float32", **case.options)
    made.weight = Parameter(weight)
    return made


def choice(case: Case, last: bool = False) -> Any:
    """Give what dispatch chose for a case, beside all candidates."""
    return explained(case, last).choices[0]


def explained(case: Case, last: bool = False) -> Any:
    """Explain a case's call."""
    n, channels, *size = case.shape
    shape = (n, *size, channels) if last else case.shape
    layout: dict[str, Any] = {"layout": CHANNELS_LAST[case.n]} if last else {}
    # Of the input the shape is all that the choice is made from: no memory is needed for it.
    weight = case.operands()[1]
    arrays = [np.broadcast_to(np.zeros((), case.dtype), shape)]
    if weight is not None:
        arrays.append(weight)
    return fastconv.explain(case.op, *arrays, **case.options, **layout)


def candidates(case: Case, last: bool = False) -> list[Call]:
    """Give a call for every compiled algorithm that may serve the case; the chosen one first."""
    chosen = choice(case, last)
    able = [
        c.algorithm
        for c in chosen.candidates
        if c.why_not is None and c.algorithm.backend != "reference"
    ]
    able.sort(key=lambda algorithm: algorithm is not chosen.algorithm)
    return [Call(str(a), last=last, algorithm=a.name, backend=a.backend) for a in able]


def with_threads(count: int) -> Callable[[], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def context() -> Iterator[None]:
        before = fastconv.get_num_threads()
        fastconv.set_num_threads(count)
        try:
            yield
        finally:
            fastconv.set_num_threads(before)

    return context
