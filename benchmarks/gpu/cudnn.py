"""cuDNN through PyTorch, set as its users set it for speed: both layouts, the best is taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.layers import Layer

_NAMES = {"float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}


@contextlib.contextmanager
def settings(layer: Layer) -> Iterator[None]:
    """Let cuDNN search its algorithms; products are rounded where the layer's mode rounds them."""
    import torch

    tf32 = layer.mode.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def tensors(layer: Layer, sets: int) -> tuple[list[Any], Any, list[Any]]:
    """Draw inputs, channels last in memory, a weight, and outputs that are not yet written."""
    import torch

    dtype = getattr(torch, _NAMES[layer.mode.dtype])
    problem = layer.problem()
    generator = torch.Generator(device="cuda").manual_seed(0)
    inputs = [
        torch.randn(problem.input_shape, generator=generator, device="cuda").to(dtype)
        for _ in range(sets)
    ]
    _, weight = layer.case.operands()
    outputs = [
        torch.full(problem.output_shape, float("nan"), device="cuda", dtype=dtype)
        for _ in range(sets)
    ]
    return inputs, torch.from_numpy(weight).cuda().to(dtype), outputs


def expected(layer: Layer, image: Any, weight: Any) -> Any:
    """Convolve in float64; channels last."""
    import torch

    first = image.permute(0, 3, 1, 2).double()
    result = torch.nn.functional.conv2d(first, weight.double(), **layer.case.options)
    return result.permute(0, 2, 3, 1)


def rivals(layer: Layer, inputs: list[Any], weight: Any) -> dict[str, Callable[[], None]]:
    """Return cuDNN's replays by layout, over all inputs in turn."""
    import torch

    found = {}
    for name, form in (("cudnn", torch.contiguous_format), ("cudnn_cl", torch.channels_last)):
        images = [x.permute(0, 3, 1, 2).contiguous(memory_format=form) for x in inputs]
        filters = weight.contiguous(memory_format=form)
        found[name] = _captured(layer, images, filters)
    return found


def _captured(layer: Layer, images: list[Any], weight: Any) -> Callable[[], None]:
    import torch

    def run() -> None:
        for image in images:
            torch.nn.functional.conv2d(image, weight, **layer.case.options)

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return lambda: graph.replay()
