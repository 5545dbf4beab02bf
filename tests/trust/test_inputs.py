"""Every public name under arguments that are wrong in all ways: only clear errors may come."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import numpy as np
import pytest

import fastconv
import fastconv.functional as F
from tests.trust import abuse, public_calls

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it limits a process's memory")
PROMISE = "bad input ends in a ValueError or TypeError that names it"


@pytest.mark.parametrize("group", sorted(abuse.groups()))
def test_wrong_arguments(
    group: str, scale: Callable[[int, int], int], told: Callable[[str, str, str], None]
) -> None:
    names = [call.name for call in abuse.groups()[group]()]
    wrong, counts = abuse.failures(group, 0, scale(3, 250), names)
    assert wrong == []
    errors = counts["ValueError"] + counts["TypeError"]
    assert errors > sum(counts.values()) // 2
    told(
        PROMISE,
        f"{group}: wrong types, ranks, sizes, values, endless and lying objects",
        f"{sum(counts.values()):,} calls of {len(names)} names; no crash, hang, warning, "
        f"write or allocation above {abuse.MOST_GROWTH >> 20} MiB",
    )


def test_every_public_name_is_abused() -> None:
    covered = {call.name.split(".")[0] for group in abuse.groups().values() for call in group()}
    assert set(fastconv.__all__) - covered - set(public_calls.TAKING_NOTHING) == set()


# What was once found: each gave another error, hung, or took all memory.
FOUND: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "endless padding": (
        lambda: F.pad(X, itertools.repeat(1)), ValueError, "pad must have at most 128 items"
    ),
    "endless activation": (
        lambda: F.conv2d(X, W, activation=itertools.repeat("relu")), ValueError, "activation"
    ),
    "a stride of a set": (lambda: F.avg_pool2d(X, 2, {2, 1}), TypeError, "stride must be an int"),
    "a number beyond floats": (
        lambda: F.lp_pool2d(X, 10**400, 2), ValueError, "norm_type is too large"
    ),
    "a number in an array": (lambda: F.elu(X, np.ones(1)), TypeError, "alpha must be a number"),
    "an algorithm in a list": (
        lambda: F.relu(X, algorithm=["direct"]), TypeError, "algorithm must be a str or None"
    ),
    "inplace as an array": (lambda: F.relu(X, inplace=X), TypeError, "inplace must be True or"),
    "an output beyond all memory": (
        lambda: F.pad(X, (2**50, 0)), ValueError, "the output of pad of size .* takes"
    ),
    "an unbatched out that is none": (
        lambda: F.conv2d(X[0], W, out={}), TypeError, "out must be a NumPy array, not dict"
    ),
    "a layer's input that is none": (
        lambda: fastconv.nn.BatchNorm2d(4)("x"), TypeError, "input must be an array of numbers"
    ),
    "a shape that is a number": (
        lambda: fastconv.compile(fastconv.nn.ReLU(), 5), TypeError, "input_shape must be a tuple"
    ),
    "a file's name with a null byte": (
        lambda: fastconv.set_tuning("\0"), ValueError, "path .* cannot be pinned"
    ),
    "a file's name that is too long": (
        lambda: fastconv.load("x" * 10**5), ValueError, "there is no file"
    ),
}  # fmt: skip
X = np.ones((2, 4, 5, 5), "f4")
W = np.ones((3, 4, 2, 2), "f4")


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found_stays_mended(case: str) -> None:
    call, error, message = FOUND[case]
    with pytest.raises(error, match=message):
        call()


def test_minus_zero_does_not_hang_on_what_came_before() -> None:
    x = np.ones((1, 1, 2), "f4")
    for value in (0.0, -0.0, 0.0):
        assert np.signbit(F.pad(x, (1, 0), value=value)[0, 0, 0]) == np.signbit(value)


def test_out_is_as_it_was_after_a_call_that_fails(told: Callable[[str, str, str], None]) -> None:
    count = 0
    for call in public_calls.functional():
        if not {"out", "algorithm", "backend"} <= set(call.parameters):
            continue
        result = call.run({})
        first = result[0] if isinstance(result, tuple) else result
        for changes in ({"algorithm": "none"}, {"backend": "none"}, {"input": first[..., :0]}):
            out = np.full_like(first, 113)
            with pytest.raises((ValueError, TypeError)):
                call.run({**changes, "out": out})
            assert (out == 113).all(), f"{call.name} with {changes}"
            count += 1
    told(
        "a call that fails has not touched out", "names and inputs that cannot be", f"{count} calls"
    )
