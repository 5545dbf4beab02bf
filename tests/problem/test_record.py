"""Records do what frozen dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle
from typing import Any

import pytest

from fastconv.problem.record import record


@record(frozen=True)
class Point:
    """Two numbers."""

    x: int
    y: int = 2

    @functools.cached_property
    def total(self) -> int:
        return self.x + self.y


@record(frozen=True, kw_only=True)
class Named(Point):
    """A point with a name."""

    name: str
    size: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Point:
    x: int
    y: int = 2


@pytest.mark.parametrize(
    ("values", "named"),
    [((1,), {}), ((1, 3), {}), ((1,), {"y": 4}), ((), {"y": 5, "x": 6}),
     ((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})],
)  # fmt: skip
def test_arguments_are_taken_and_refused_as_by_a_dataclass(
    values: tuple[int, ...], named: dict[str, Any]
) -> None:
    try:
        expected = _Point(*values, **named)
    except TypeError:
        with pytest.raises(TypeError, match="Point takes x, y, each once"):
            Point(*values, **named)
        return
    made = Point(*values, **named)
    assert dataclasses.asdict(made) == dataclasses.asdict(expected)
    assert repr(made) == repr(expected).replace("_Point", "Point")


def test_fields_of_a_base_come_first_and_named_ones_by_name_alone() -> None:
    made = Named(1, name="a")
    assert repr(made) == "Named(x=1, y=2, name='a', size=())"
    assert made.total == 3
    with pytest.raises(TypeError, match="Named takes"):
        Named(1, 2, "a")  # type: ignore[misc]


def test_records_are_equal_by_type_and_value() -> None:
    assert Point(1) == Point(1, 2) != Point(2)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert Point(1) != _Point(1)
    assert Named(1, name="a") != Point(1)

    @record(frozen=True, eq=False)
    class Single:
        """Equal to itself alone."""

        x: int

    one = Single(1)
    assert one == one != Single(1)
    assert len({one, Single(1)}) == 2


def test_records_cannot_be_changed() -> None:
    point = Point(1)
    assert point.total == 3
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x


def test_records_are_replaced_copied_and_pickled() -> None:
    point = Named(1, name="a", size=(1, 2))
    assert dataclasses.replace(point, name="b") == Named(1, name="b", size=(1, 2))
    assert pickle.loads(pickle.dumps(point)) == copy.deepcopy(point) == copy.copy(point) == point
