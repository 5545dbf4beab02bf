"""Libraries that filter one signal or image: SciPy, NumPy, OpenCV."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from benchmarks.cases import Array, Case
from benchmarks.peers.base import Peer, counts_padding
from benchmarks.rival import Rival


def _plain_filter(case: Case) -> str | None:
    """Return why a case is not one filter, or one a channel, moved by one cell at a time."""
    if case.extra:
        return "no bias"
    if not case.depthwise:
        return "one filter a channel alone"
    if set(case.each("stride")) | set(case.each("dilation")) != {1}:
        return "no stride or dilation"
    return None


def _centred(case: Case) -> bool:
    """Whether the output has the input's size and each window its cell at its middle."""
    return all(k % 2 and p == (k // 2, k // 2) for k, p in zip(case.kernel, case.pads, strict=True))


def _moving_pool(case: Case) -> str | None:
    """Return why a case is not a pool whose window moves by one cell at a time."""
    if case.kind not in ("max_pool", "avg_pool"):
        return "no such function"
    if set(case.each("stride")) | set(case.each("dilation")) != {1} or not _centred(case):
        return "centred windows that move by one alone"
    if case.kind == "avg_pool" and not counts_padding(case):
        return "padding counts"
    return None


class ScipyFft(Peer):
    """scipy.signal by Fourier transforms: overlap and add along signals, whole images."""

    name = "scipy.signal"
    needs = {"scipy": "scipy"}  # noqa: RUF012
    plain = True

    def can(self, case: Case) -> str | None:
        if case.weight_shape is None:
            return "no such function"
        if case.dtype not in ("float32", "float64", "complex64"):
            return f"no transform in {case.dtype}"
        if not case.even_pads:
            return "no such padding"
        if any(sum(p) for p in case.pads) and not _centred(case):
            return "no such padding"
        return _plain_filter(case)

    def make(self, case: Case, threads: int) -> Rival:
        from scipy import signal

        x, weight = case.operands()
        assert weight is not None
        axes = tuple(range(2, 2 + case.n))
        kernel = np.ascontiguousarray(np.flip(weight.swapaxes(0, 1), axes))
        mode = "same" if any(sum(p) for p in case.pads) else "valid"
        function = signal.oaconvolve if case.n == 1 else signal.fftconvolve
        run = functools.partial(function, x, kernel, mode=mode, axes=axes)
        return Rival(run, run)


class ScipyNdimage(Peer):
    """scipy.ndimage, a channel at a time."""

    name = "scipy.ndimage"
    needs = {"scipy": "scipy"}  # noqa: RUF012
    plain = True

    def can(self, case: Case) -> str | None:
        if case.dtype not in ("float32", "float64"):
            return f"no {case.dtype}"
        if case.weight_shape is None:
            return _moving_pool(case)
        return _plain_filter(case) or (None if _centred(case) else "output of the input's size")

    def make(self, case: Case, threads: int) -> Rival:
        from scipy import ndimage

        x, weight = case.operands()
        result = np.empty_like(x)
        if weight is None:
            largest = case.kind == "max_pool"
            function = ndimage.maximum_filter if largest else ndimage.uniform_filter
            size = (1, 1, *case.kernel)
            outside = -np.inf if largest else 0.0
            run = lambda: function(x, size, mode="constant", cval=outside, output=result)  # noqa: E731
            return Rival(run, lambda: np.array(run()))
        kernels = weight[:, 0]

        def correlate() -> Array:
            for image, filtered in zip(x, result, strict=True):
                for channel, kernel, out in zip(image, kernels, filtered, strict=True):
                    ndimage.correlate(channel, kernel, output=out, mode="constant")
            return result

        return Rival(correlate, lambda: np.array(correlate()))


class NumpyCorrelate(Peer):
    """np.correlate, for one signal and one filter."""

    name = "numpy"
    needs = {"numpy": "numpy"}  # noqa: RUF012
    plain = True

    def can(self, case: Case) -> str | None:
        if case.weight_shape is None or case.n > 1 or (case.shape[0], case.channels) != (1, 1):
            return "one signal and one filter alone"
        if any(sum(p) for p in case.pads) and not _centred(case):
            return "no such padding"
        return _plain_filter(case)

    def make(self, case: Case, threads: int) -> Rival:
        x, weight = case.operands()
        assert weight is not None
        mode: Any = "same" if any(sum(p) for p in case.pads) else "valid"
        run = functools.partial(np.correlate, x[0, 0], weight[0, 0], mode)
        return Rival(run, lambda: run()[None, None])


class OpenCv(Peer):
    """OpenCV on one image of one channel: filter2D, sepFilter2D, blur, dilate."""

    name = "opencv"
    needs = {"cv2": "opencv-python-headless"}  # noqa: RUF012
    plain = True

    def can(self, case: Case) -> str | None:
        if case.n != 2 or (case.shape[0], case.channels) != (1, 1):
            return "one image of one channel alone"
        if case.dtype not in ("float32", "float64"):
            return f"no {case.dtype}"
        if case.weight_shape is None:
            return _moving_pool(case)
        return _plain_filter(case) or (None if _centred(case) else "output of the input's size")

    def make(self, case: Case, threads: int) -> Rival:
        import cv2

        x, weight = case.operands()
        image, border = x[0, 0], cv2.BORDER_CONSTANT
        run: Callable[[], Any]
        if weight is None and case.kind == "max_pool":
            run = functools.partial(cv2.dilate, image, np.ones(case.kernel, np.uint8))
        elif weight is None:
            run = functools.partial(cv2.blur, image, case.kernel[::-1], borderType=border)
        elif case.separable:
            left, sizes, right = np.linalg.svd(weight[0, 0])
            down, across = left[:, 0] * sizes[0], right[0]
            run = functools.partial(cv2.sepFilter2D, image, -1, across, down, borderType=border)
        else:
            run = functools.partial(cv2.filter2D, image, -1, weight[0, 0], borderType=border)

        @contextlib.contextmanager
        def context() -> Iterator[None]:
            before = cv2.getNumThreads()
            cv2.setNumThreads(threads)
            try:
                yield
            finally:
                cv2.setNumThreads(before)

        entered: Callable[[], AbstractContextManager[None]] = context
        return Rival(run, lambda: run()[None, None], entered)
