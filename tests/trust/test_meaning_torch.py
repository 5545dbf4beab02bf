"""fastconv means what PyTorch means, on PyTorch's own samples of its operators and modules.

Values are compared with torch's in float64, shapes and dtypes with what torch gives for the sample;
what torch refuses, fastconv refuses.
"""

from __future__ import annotations

import collections
import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastconv.functional as F
from tests.libraries import BACKENDS, COMPILED
from tests.trust import torch_gaps as gaps

torch = pytest.importorskip("torch", reason="the oracle for meaning")
pytest.importorskip("expecttest", reason="torch's list of operators needs it")

from tests.trust import torch_modules as modules  # noqa: E402 - where torch is
from tests.trust import torch_samples as ts  # noqa: E402
from tests.trust import torch_tolerance as tolerance  # noqa: E402

Array = np.ndarray[Any, Any]
# Samples of an operator's first dtype and of each of the others, in the full form.
MANY = (10_000, 100)
# So many of them on the reference too, which takes a window at a time.
SLOW = 150
NAMES = sorted(set(F.__all__) - set(gaps.OURS))
# Torch warns of "same" with even kernels, and of what it will change.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


class Tally(collections.Counter[str]):
    """What came of the calls, and the largest error as a part of what is allowed."""

    worst = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.rows: set[gaps.Gap] = set()

    def refuse(self, name: str, error: Exception, where: str) -> None:
        """Count a refusal, which must be in the table."""
        text = f"{type(error).__name__}: {error}"
        row = gaps.gap(gaps.REFUSED, name, text)
        assert row is not None, f"{where}: {text}"
        self.rows.add(row)
        self["refused"] += 1

    def __str__(self) -> str:
        words = [f"{count:,} {word}" for word, count in self.items()]
        if self.worst:
            words.append(f"errors up to {self.worst:.2f} of what is allowed")
        return ", ".join(words)


def operators(name: str) -> list[Any]:
    """Return torch's entries for a name: its variants."""
    found = [operator for operator in ts.operators() if operator.name == name]
    assert found, f"torch lists no {name}: say so in tests/trust/torch_gaps.py"
    return found


def drawn(operator: Any, dtype: Any, most: int) -> list[Any]:
    """Return at most so many of the samples, always the same; few come from the first ones."""
    found = list(itertools.islice(ts.samples(operator, dtype), 20 * most))
    return found if len(found) <= most else random.Random(0).sample(found, most)


@pytest.mark.parametrize("name", NAMES)
def test_values(name: str, scale: Callable[[int, int], int], told: Callable[..., None]) -> None:
    tally = Tally()
    for operator in operators(name):
        # All samples of one dtype, and many of each of the others.
        for place, dtype in enumerate(operator.dtypes[: scale(1, 99)]):
            for count, sample in enumerate(drawn(operator, dtype, scale(4, MANY[place > 0]))):
                check(operator, sample, tally, BACKENDS if count < SLOW else COMPILED)
    assert tally["equal"] > 0
    # All samples need all that the table says.
    assert not scale(0, 1) or tally.rows == gaps.rows_of(gaps.REFUSED, name)
    told("torch's meaning", f"{name}: torch's samples, on {', '.join(BACKENDS)}", str(tally))


def check(operator: Any, sample: Any, tally: Tally, backends: tuple[str, ...]) -> None:
    """Compare one sample on some backends, and where fastconv chooses."""
    native, want = outputs(operator, sample)
    call = sample.arrays()
    choices: tuple[str | None, ...] = (None, *backends) if operator.name != "dropout" else (None,)
    for backend in choices:
        options = {} if backend is None else {"backend": backend}
        where = f"{operator.label}{sample} backend={backend}"
        try:
            result = operator.ours(*call.args, **call.kwargs, **options)
        except (ValueError, TypeError) as error:
            if backend not in (None, "reference") and gaps.CANNOT in str(error):
                tally["not by every backend"] += 1
                continue
            if native is None:
                tally["refused by both"] += 1
                continue
            tally.refuse(operator.name, error, where)
            continue
        if native is None:
            tally["beyond torch"] += 1
            continue
        for got, theirs, wide in zip(parts(result), native, want, strict=True):
            compare(operator, sample, got, theirs, wide, where, tally)
        tally["equal"] += 1


def outputs(operator: Any, sample: Any) -> tuple[list[Array] | None, list[Array]]:
    """Return what torch gives, None where it refuses its own sample, and that in float64."""
    try:
        native = numpy_parts(operator.theirs(*sample.args, **sample.kwargs))
    except (RuntimeError, NotImplementedError):
        return None, []
    wide = sample.cast(ts.widened)
    try:
        return native, numpy_parts(operator.theirs(*wide.args, **wide.kwargs))
    except NotImplementedError:  # integers of 64 bits
        return native, native


def compare(
    operator: Any, sample: Any, got: Array, theirs: Array, wide: Array, where: str, tally: Tally
) -> None:
    """Compare one output with torch's: shape, dtype, values."""
    assert got.shape == theirs.shape, where
    if got.dtype != theirs.dtype:
        wider = operator.name in gaps.WIDER and got.dtype.kind == "i"
        assert wider, f"{where}: {got.dtype}, torch {theirs.dtype}"
        assert got.dtype.itemsize > theirs.dtype.itemsize or theirs.dtype.kind == "u", where
    if got.dtype.kind in "iub":
        np.testing.assert_array_equal(got, wide.astype(got.dtype), where)
        return
    if tolerance.family(operator) == "exact":
        # NumPy does not know bfloat16's NaN for one.
        np.testing.assert_array_equal(got.astype(wide.dtype), theirs.astype(wide.dtype), where)
        return
    limit = tolerance.allowed(operator, sample, wide, got.dtype)
    tally.worst = max(tally.worst, assert_within(got, wide, limit, where))


def assert_within(got: Array, wide: Array, limit: Any, where: str) -> float:
    """Compare within a limit, and give the largest error as a part of it."""
    with np.errstate(all="ignore"):
        rounded = wide.astype(got.dtype).astype(wide.dtype)
        finite = np.isfinite(rounded)
        given = got.astype(wide.dtype)
        error, most = np.abs(given - wide)[finite], np.broadcast_to(limit, wide.shape)[finite]
        part = np.where(error == 0, 0, error / most)
    np.testing.assert_array_equal(given[~finite], rounded[~finite], where)
    worst = float(part.max(initial=0))
    assert worst <= 1, f"{where}: {worst:.3g} times what is allowed"
    return worst


def parts(result: Any) -> tuple[Array, ...]:
    """Return one output or several as a tuple."""
    return result if isinstance(result, tuple) else (result,)


def numpy_parts(result: Any) -> list[Array]:
    """Return torch's outputs as arrays."""
    several = result if isinstance(result, (tuple, list)) else (result,)
    return [ts.array(tensor) for tensor in several]


def errors() -> Iterator[tuple[Any, Any, str]]:
    """Yield what torch lists as errors, and refuses in deed, with its words."""
    seen = set()
    for operator in ts.operators():
        if operator.info.error_inputs_func is None or operator.name in seen:
            continue
        seen.add(operator.name)
        for listed in operator.info.error_inputs("cpu"):
            drawn = listed.sample_input
            sample = ts.Sample((drawn.input, *drawn.args), dict(drawn.kwargs))
            try:
                operator.theirs(*sample.args, **sample.kwargs)
            except Exception as error:
                yield operator, sample, str(error)


def test_what_torch_refuses_is_refused(told: Callable[..., None]) -> None:
    tally = Tally()
    for operator, sample, words in errors():
        call = sample.arrays()
        try:
            operator.ours(*call.args, **call.kwargs)
        except (ValueError, TypeError) as error:
            assert len(str(error)) > 10, f"{operator.label}{sample}"  # noqa: PT017 - of many
            tally["refused with ValueError or TypeError"] += 1
            continue
        assert gaps.gap(gaps.TAKEN, operator.name, words), f"{operator.label}{sample}: {words}"
        tally["taken, as documented"] += 1
    assert tally["refused with ValueError or TypeError"] > 100
    told("what torch refuses is refused", "torch's own lists of errors", str(tally))


@pytest.mark.parametrize("name", ["batch_norm", "dropout"])
def test_training_is_refused(name: str) -> None:
    x, zeros = np.ones((2, 3, 4), "f4"), np.zeros(3, "f4")
    arguments = (x, zeros, zeros + 1) if name == "batch_norm" else (x,)
    with pytest.raises(ValueError, match="training=True"):
        getattr(F, name)(*arguments, training=True)


@pytest.mark.parametrize("name", sorted(modules.NAMES))
def test_modules(name: str, scale: Callable[[int, int], int], told: Callable[..., None]) -> None:
    tally = Tally()
    for sample in modules.samples(name)[: scale(3, 1000)]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wide = numpy_parts(sample.theirs.double()(*ts.mapped(ts.widened, sample.inputs)))
        with torch.no_grad():
            theirs = numpy_parts(sample.theirs.float()(*sample.inputs))
        try:
            result = sample.ours(*ts.mapped(ts.argument, sample.inputs))
        except ValueError as error:
            tally.refuse(name, error, sample.words)
            continue
        for got, native, want in zip(parts(result), theirs, wide, strict=True):
            assert (got.shape, got.dtype) == (native.shape, native.dtype), sample.words
            limit = modules.allowed(name, sample, want)
            tally.worst = max(tally.worst, assert_within(got, want, limit, sample.words))
        tally["equal"] += 1
    assert tally["equal"] > 0
    assert not scale(0, 1) or tally.rows == gaps.rows_of(gaps.REFUSED, name)
    told("torch's meaning", f"nn.{name}: torch's samples, its state_dict loaded", str(tally))


def test_every_operator_stands_in_a_table(told: Callable[..., None]) -> None:
    assert {operator.name for operator in ts.operators()} == set(NAMES)
    missing = {name for names in gaps.NOT_OFFERED.values() for name in names}
    assert sorted(missing) == ts.not_offered()
    counts = ", ".join(f"{len(names)} {group}" for group, names in gaps.NOT_OFFERED.items())
    told("torch's names", f"{len(NAMES)} of nn.functional's are offered", f"not: {counts}")
