"""Convolutions on a GPU against float64 there: every algorithm and precision, poisoned outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import fastconv.functional as F
from fastconv.dispatch.registry import algorithms
from fastconv.problem import ConvProblem
from fastconv.problem.remember import Spec

# Precision: the arrays' dtype, what is allowed, and how far from float64 a result may be, in units
# of the output's deviation.
PRECISIONS: dict[str, tuple[Any, str | None, float]] = {
    "fp32": (torch.float32, None, 1e-4),
    "tf32": (torch.float32, "tf32", 5e-3),
    "3xtf32": (torch.float32, "3xtf32", 1e-4),
    "fp16 products": (torch.float32, "fp16", 5e-3),
    "bf16 products": (torch.float32, "bf16", 4e-2),
    "fp16": (torch.float16, None, 1e-2),
    "bf16": (torch.bfloat16, None, 6e-2),
}
# Batch, channels in and out, size, window, options.
CASES: dict[str, Any] = {
    "3x3": (2, 64, 64, (14, 14), (3, 3), {"padding": 1}),
    "3x3 ragged": (3, 40, 72, (13, 11), (3, 3), {"padding": 1}),
    "1x1": (2, 64, 128, (9, 9), (1, 1), {}),
    "stem": (2, 3, 64, (33, 31), (7, 7), {"padding": 3, "stride": 2}),
    "dilated": (1, 32, 32, (17, 15), (3, 3), {"padding": 2, "dilation": 2}),
    "groups": (1, 64, 64, (9, 9), (3, 3), {"padding": 1, "groups": 4}),
    "depthwise": (2, 32, 32, (15, 13), (3, 3), {"padding": 1, "groups": 32}),
    "signal": (2, 16, 24, (101,), (5,), {"padding": 2}),
    "volume": (1, 8, 16, (5, 6, 7), (3, 3, 3), {"padding": 1}),
}
SMALL = ("3x3 ragged", "stem", "depthwise")


def able() -> list[Any]:
    """Return each pair of a case and an algorithm that says it can, in each precision."""
    found = []
    for case, (batch, inputs, outputs, size, window, options) in CASES.items():
        for precision, (dtype, allowed, _) in PRECISIONS.items():
            name = str(dtype).removeprefix("torch.")
            kind = np.dtype("float32") if name == "bfloat16" else np.dtype(name)
            if name == "bfloat16":
                import ml_dtypes

                kind = np.dtype(ml_dtypes.bfloat16)
            layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[len(size)]
            weight = Spec((outputs, inputs // options.get("groups", 1), *window), kind)
            problem = ConvProblem.of(
                len(size), Spec((batch, *size, inputs), kind), weight, layout=layout,
                precision=allowed, **options,
            )  # fmt: skip
            for algorithm in algorithms(ConvProblem, "cuda"):
                if algorithm.why_not(problem) is None:
                    marks = [pytest.mark.small] if case in SMALL else []
                    found.append(pytest.param(case, precision, algorithm.name, marks=marks))
    return found


@pytest.mark.parametrize(("case", "precision", "algorithm"), able())
def test_against_float64(case: str, precision: str, algorithm: str) -> None:
    batch, inputs, outputs, size, window, options = CASES[case]
    dtype, allowed, most = PRECISIONS[precision]
    generator = torch.Generator(device="cuda").manual_seed(1)

    def drawn(*shape: int) -> Any:
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    n = len(size)
    per_group = inputs // options.get("groups", 1)
    weight = (drawn(outputs, per_group, *window) / (per_group * np.prod(window)) ** 0.5).to(dtype)
    x, bias = drawn(batch, *size, inputs), drawn(outputs)
    layout = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[n]
    function = getattr(F, f"conv{n}d")
    parameters = [p.cpu().float().numpy() for p in (weight, bias)]
    if dtype == torch.bfloat16:
        import ml_dtypes

        parameters = [p.astype(ml_dtypes.bfloat16) for p in parameters]
    elif dtype == torch.float16:
        parameters = [p.astype(np.float16) for p in parameters]
    first = x.movedim(-1, 1).double()
    expected = getattr(torch.nn.functional, f"conv{n}d")(
        first, weight.double(), bias.double(), **options
    ).relu().movedim(1, -1)  # fmt: skip
    results = []
    for _ in range(3):
        out = torch.full(expected.shape, float("nan"), device="cuda", dtype=dtype)
        function(
            x, *parameters, layout=layout, activation="relu", out=out, algorithm=algorithm,
            precision=allowed, rtol=1.0, **options,
        )  # fmt: skip
        results.append(out)
    worst = float((results[0].double() - expected).abs().max() / expected.std())
    assert worst <= most, f"{worst:.1e}"
    # A race shows as other bits in another run.
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_image_has_the_same_bits_in_any_batch(dtype: Any) -> None:
    x = torch.randn(33, 28, 28, 64, device="cuda").to(dtype)
    weight = torch.randn(96, 64, 3, 3).to(dtype)
    given = weight.float().numpy()
    if dtype == torch.bfloat16:
        import ml_dtypes

        given = given.astype(ml_dtypes.bfloat16)
    elif dtype == torch.float16:
        given = given.astype(np.float16)
    whole = F.conv2d(x, given, padding=1, layout="NHWC")
    for number in (0, 17, 32):
        alone = F.conv2d(x[number : number + 1], given, padding=1, layout="NHWC")
        assert torch.equal(whole[number : number + 1], alone)
