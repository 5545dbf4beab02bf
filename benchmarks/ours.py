"""fastconv as a contestant: called as users call it, inside a network, or by one algorithm."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastconv
from benchmarks.cases import CHANNELS_LAST, Array, Case
from benchmarks.rival import Rival
from fastconv.dispatch import Parameter

_NN_NAMES = {"lp_pool": "LPPool"}


class Call:
    """``fastconv.conv2d(x, weight, ...)`` with the weight a Parameter, so packed once.

    Not ``packed``: the weight is a plain array at each call.
    """

    def __init__(
        self,
        name: str = "fastconv",
        *,
        last: bool = False,
        packed: bool = True,
        **forced: str | None,
    ) -> None:
        self.name = name
        self._last = last
        self._packed = packed
        self._forced = forced

    def missing(self) -> str | None:
        return None

    def can(self, case: Case) -> str | None:
        return None

    def build(self, case: Case, threads: int) -> Rival:
        if case.form == "network":
            return InNetwork().build(case, threads)
        arrays, named = case.arguments()
        last = self._last or case.last
        run: Callable[[], Array]
        if case.form == "module":
            run = functools.partial(module(case, *arrays[1:]), arrays[0])
            return Rival(run, run, with_threads(threads))
        options: dict[str, Any] = {**case.options, **self._forced}
        if last:
            arrays[0] = np.ascontiguousarray(np.moveaxis(arrays[0], 1, -1))
            options["layout"] = CHANNELS_LAST[case.n]
        given: list[Any] = [*arrays]
        if self._packed:
            given[1:2] = map(Parameter, arrays[1:2])
        run = functools.partial(getattr(fastconv.functional, case.op), *given, **named, **options)
        back = (lambda: np.moveaxis(run(), -1, 1)) if last else run
        return Rival(run, back, with_threads(threads))


class InNetwork:
    """A network of one layer: what is left of a call when its arguments are known beforehand."""

    name = "network"

    def missing(self) -> str | None:
        return None

    def can(self, case: Case) -> str | None:
        return None

    def build(self, case: Case, threads: int) -> Rival:
        (x, *weights), _ = case.arguments()
        network = fastconv.compile(module(case, *weights), case.shape, case.dtype)
        run = lambda: network(x)  # noqa: E731
        return Rival(run, run, with_threads(threads))


def module(case: Case, weight: Array | None = None, bias: Array | None = None) -> Any:
    """Return the case as a layer of ``fastconv.nn``."""
    words = _NN_NAMES.get(case.kind) or "".join(w.capitalize() for w in case.kind.split("_"))
    layer = getattr(fastconv.nn, f"{words}{case.n}d")
    if weight is None:
        return layer(**case.options)
    sizes = (case.channels, case.out_channels, case.kernel)
    made = layer(*sizes, bias=bias is not None, dtype="float32", **case.options)
    made.weight = Parameter(weight)
    if bias is not None:
        made.bias = Parameter(bias)
    return made


def choice(case: Case, last: bool = False, packed: bool = True) -> Any:
    """Return what dispatch chose for a case, with all candidates."""
    return explained(case, last, packed).choices[0]


def explained(case: Case, last: bool = False, packed: bool = True) -> Any:
    """Explain a case's call, with weights packed beforehand or at the call."""
    n, channels, *size = case.shape
    last = last or case.last
    shape = (n, *size, channels) if last else case.shape
    options: dict[str, Any] = {"layout": CHANNELS_LAST[case.n]} if last else {}
    # Of the input the shape is all that the choice is made from: no memory is needed for it.
    arrays, named = case.arguments()
    arrays[0] = np.broadcast_to(np.zeros((), case.dtype), shape)
    options |= {**named, **case.options}
    return fastconv.explain(case.op, *arrays, frozen=packed, **options)


def candidates(case: Case, last: bool = False) -> list[Call]:
    """Return a call for every compiled algorithm that may serve the case; the chosen one first."""
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
