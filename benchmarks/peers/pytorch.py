"""PyTorch, in both of its memory formats."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import numpy as np

from benchmarks.cases import Case
from benchmarks.peers.base import Peer
from benchmarks.rival import Rival


class Torch(Peer):
    """torch.nn.functional in inference mode; ``last``: tensors in the channels last format."""

    needs = {"torch": "torch"}  # noqa: RUF012

    def __init__(self, last: bool = False) -> None:
        self.name = "torch_cl" if last else "torch"
        self._last = last

    def can(self, case: Case) -> str | None:
        if self._last and case.n == 1:
            return "no channels last format in one dimension"
        if case.kind == "lp_pool" and "padding" in case.options:
            return "no padding"
        dtype = np.dtype(case.dtype)
        if case.weight_shape and dtype.kind in "iu" and dtype.itemsize < 4:
            return "sums overflow: they are kept in the input's dtype"
        return None

    def make(self, case: Case, threads: int) -> Rival:
        import torch

        x, weight = case.operands()
        tensors = [torch.from_numpy(a) for a in (x, weight) if a is not None]
        if self._last:
            form = torch.channels_last if case.n == 2 else torch.channels_last_3d
            tensors = [t.to(memory_format=form) for t in tensors]
        function = getattr(torch.nn.functional, case.op)
        options = dict(case.options)
        if case.kind == "conv" and not case.even_pads:
            ((before, after),) = case.pads
            pad = torch.nn.functional.pad
            plain = {**options, "padding": 0}
            run = lambda: function(pad(tensors[0], (before, after)), tensors[1], **plain)  # noqa: E731
        else:
            run = lambda: function(*tensors, **options)  # noqa: E731
        return Rival(run, lambda: run().numpy(), functools.partial(torch_context, threads))


@contextlib.contextmanager
def torch_context(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
