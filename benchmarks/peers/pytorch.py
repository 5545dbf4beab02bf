"""PyTorch, in both of its memory formats."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case
from benchmarks.peers.base import Peer
from benchmarks.rival import Rival


class Torch(Peer):
    """torch.nn.functional in inference mode; ``last``: tensors in the channels last format."""

    needs = {"torch": "torch"}  # noqa: RUF012
    plain = True

    def __init__(self, last: bool = False) -> None:
        self.name = "torch_cl" if last else "torch"
        self._last = last

    def can(self, case: Case) -> str | None:
        if self._last and case.n not in (2, 3):
            return "channels last in two or three dimensions alone"
        if case.last and not self._last:
            return "the data is channels last"
        if case.kind == "lp_pool" and "padding" in case.options:
            return "no padding"
        dtype = np.dtype(case.dtype)
        if case.weight_shape and dtype.kind in "iu" and dtype.itemsize < 4:
            return "sums overflow: they are kept in the input's dtype"
        return None

    def make(self, case: Case, threads: int) -> Rival:
        import torch

        arrays, named = case.arguments()
        tensors = [tensor(array) for array in arrays]
        if self._last:
            form = torch.channels_last if case.n == 2 else torch.channels_last_3d
            rank = case.n + 2
            tensors = [t.to(memory_format=form) if t.dim() == rank else t for t in tensors]
        function = getattr(torch.nn.functional, case.op)
        options = {**case.options, **{name: tensor(array) for name, array in named.items()}}
        run: Callable[[], Any]
        if case.kind == "conv" and not case.even_pads:
            ((before, after),) = case.pads
            pad = torch.nn.functional.pad
            plain = {**options, "padding": 0}
            run = lambda: function(pad(tensors[0], (before, after)), tensors[1], **plain)  # noqa: E731
        elif case.form != "call":
            run = functools.partial(module(case, *tensors[1:]), tensors[0])
        else:
            run = functools.partial(function, *tensors, **options)
        return Rival(run, lambda: array_of(run()), functools.partial(torch_context, threads))


def module(case: Case, weight: Any, bias: Any = None) -> Any:
    """Return a convolution as a layer of torch.nn."""
    import torch

    sizes = (case.channels, case.out_channels, case.kernel)
    made = torch.nn.Conv2d(*sizes, bias=bias is not None, **case.options).eval()
    made.weight = torch.nn.Parameter(weight)
    if bias is not None:
        made.bias = torch.nn.Parameter(bias)
    return made


def tensor(array: Array) -> Any:
    """Return a tensor of an array's memory; PyTorch does not read NumPy's bfloat16 itself."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def array_of(found: Any) -> Array:
    """Return a tensor as an array, bfloat16 as float32."""
    import torch

    result: Array = (found.float() if found.dtype == torch.bfloat16 else found).numpy()
    return result


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
