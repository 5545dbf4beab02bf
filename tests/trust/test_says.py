"""It says what it does: what `explain` names is what runs, and its figures are the call's."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

import fastconv
import fastconv.functional as F
from fastconv.dispatch import run
from fastconv.machine import get_machine
from fastconv.network import compile_module

PROMISE = "it says what it does"


@st.composite
def convolutions(
    draw: st.DrawFn, dtypes: tuple[str, ...] = ("f4", "f4", "f4", "f8", "f2", "i1")
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Draw a conv2d: arrays, and options by name."""
    groups = draw(st.sampled_from((1, 1, 1, 2, 5)))
    per_group, per_output = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    kernel = draw(st.tuples(*[st.integers(1, 5)] * 2))
    size = [draw(st.integers(k + 4, 30)) for k in kernel]
    dtype = draw(st.sampled_from(dtypes))
    options: dict[str, Any] = {
        "stride": draw(st.integers(1, 3)), "groups": groups, "padding": draw(st.integers(0, 2))
    }  # fmt: skip
    x = np.ones((draw(st.integers(1, 3)), groups * per_group, *size), dtype)
    w = np.ones((groups * per_output, per_group, *kernel), dtype)
    return (x, w), options


@st.composite
def pools(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    """Draw a pool's name and its arguments."""
    name = draw(st.sampled_from(("max_pool2d", "avg_pool2d")))
    x = np.ones((draw(st.integers(1, 3)), draw(st.integers(1, 9)), 17, draw(st.integers(9, 40))))
    return name, (x.astype("f4"), draw(st.integers(1, 7)), draw(st.integers(1, 4)))


def ran(call: Callable[[], Any]) -> list[str]:
    """Return the algorithms of the plans that a call made."""
    made: list[str] = []
    chosen = run.choose

    def recorded(*arguments: Any, **options: Any) -> Any:
        choice = chosen(*arguments, **options)
        made.append(str(choice.algorithm))
        return choice

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "choose", recorded)
        run.plans.clear()
        call()
    return made


def test_what_explain_names_runs(
    scale: Callable[[int, int], int], told: Callable[[str, str, str], None]
) -> None:
    count = scale(12, 500)

    @seeded(0)
    @settings(max_examples=count, deadline=None, database=None)
    @given(convolutions(("f4",)), pools())
    def check(convolution: Any, pool: Any) -> None:
        arrays, options = convolution
        named = fastconv.explain("conv2d", *arrays, **options)
        (made,) = ran(lambda: F.conv2d(*arrays, **options))
        assert made == named.reports[0].algorithm == f"{named.backend}.{named.algorithm}"
        name, arguments = pool
        named = fastconv.explain(name, *arguments)
        (made,) = ran(lambda: getattr(F, name)(*arguments))
        assert made == named.reports[0].algorithm

    check()
    told(
        PROMISE, "the algorithm that explain names against the plan that ran", f"{2 * count} calls"
    )


def test_reasons_are_those_of_the_choice(
    scale: Callable[[int, int], int], told: Callable[[str, str, str], None]
) -> None:
    count, refused = scale(15, 1000), 0

    @seeded(1)
    @settings(max_examples=count, deadline=None, database=None)
    @given(convolutions())
    def check(convolution: Any) -> None:
        nonlocal refused
        arrays, options = convolution
        (report,) = fastconv.explain("conv2d", *arrays, **options).reports
        able = [c for c in report.contenders if c.why_not is None]
        fast = [c for c in able if not c.algorithm.startswith("reference.")] or able
        assert report.chosen is not None
        assert report.chosen.predicted_seconds == min(c.predicted_seconds for c in fast)
        assert report.reason.split(";")[0] == (
            "lowest predicted cost" if len(able) > 1 else "the only one that can"
        )
        for contender in report.contenders:
            backend, algorithm = contender.algorithm.split(".")
            asked = {**options, "backend": backend, "algorithm": algorithm}
            if contender.why_not is None:
                assert contender.predicted_seconds > 0
                assert contender.error_bound >= 0
                again = fastconv.explain("conv2d", *arrays, **asked)
                assert again.reports[0].algorithm == contender.algorithm
                continue
            if algorithm == "separable":
                # Asked for by name it looks at the filters, which `explain` of a shape cannot.
                continue
            refused += 1
            with pytest.raises(ValueError) as caught:  # noqa: PT011 - the reason is looked at below
                F.conv2d(*arrays, **asked)
            # A reason that names the tuning or the GPU is said alike by both.
            assert contender.why_not in str(caught.value)

    check()
    told(
        PROMISE,
        "every candidate asked for by name: it runs, or its reason is the error's",
        f"{count} convolutions, {refused} refusals",
    )


def test_figures_are_those_of_the_call(
    scale: Callable[[int, int], int], told: Callable[[str, str, str], None]
) -> None:
    count = scale(40, 2000)

    @seeded(2)
    @settings(max_examples=count, deadline=None, database=None)
    @given(convolutions())
    def check(convolution: Any) -> None:
        (x, w), options = convolution
        explained = fastconv.explain("conv2d", x, w, **options)
        (report,) = explained.reports
        pad, stride = options["padding"], options["stride"]
        pairs = zip(x.shape[2:], w.shape[2:], strict=True)
        size = [(length + 2 * pad - k) // stride + 1 for length, k in pairs]
        assert report.output_shape == (x.shape[0], w.shape[0], *size)
        image = np.empty((1, w.shape[0], *size), np.int32 if x.dtype == np.int8 else x.dtype)
        assert report.flops == 2 * image.size * prod(w.shape[1:])
        assert report.bytes == x[:1].nbytes + w.nbytes + image.nbytes
        (choice,) = explained.choices
        assert choice is not None
        machine = get_machine()
        peak, bandwidth = choice.algorithm.limits(choice.problem, machine)
        # Plain sums execute what the definition asks for.
        work = choice.algorithm.work(choice.problem, machine)
        if choice.algorithm.name in ("direct", "im2col", "planar"):
            assert work.flops == report.flops
        compute, memory = work.flops / peak, work.bytes / bandwidth
        assert report.roof_seconds == max(compute, memory)
        assert report.bound_by == ("compute" if compute >= memory else "memory")
        assert explained.roof_seconds == report.roof_seconds
        for contender in report.contenders:
            if contender.seconds:
                (own,) = (c for c in choice.candidates if str(c.algorithm) == contender.algorithm)
                work = own.algorithm.work(choice.problem, machine)
                peak, bandwidth = own.algorithm.limits(choice.problem, machine)
                roof = max(work.flops / peak, work.bytes / bandwidth)
                assert contender.roof == pytest.approx(roof / contender.seconds)

    check()
    told(PROMISE, "FLOP, bytes, roof and what bounds it, worked out again", f"{count} convolutions")


def test_a_network_tells_of_every_operation(told: Callable[[str, str, str], None]) -> None:
    model = fastconv.models.resnet18()
    network = compile_module(model, (1, 3, 64, 64))
    explained = network.explain(passes=True)
    named = {r.layer for r in explained.reports}
    folded = {text.split(" (")[0] for r in explained.reports for text in r.fused}
    layers = {row.layer for row in network.summary().rows}
    # Flattening only looks at the cells in another way.
    missing = layers - named - folded
    assert missing <= {""}, missing
    told(PROMISE, "every layer of ResNet-18 is named by what runs it", f"{len(layers)} layers")
