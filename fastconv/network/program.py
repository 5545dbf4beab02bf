"""A network for given input shapes, as a list of operations on numbered values.

This is what passes rewrite and what the planner makes native code of. Of the four kinds of
operation, `Solve` is a problem with an algorithm, `View` another shape of the same cells, `Call` a
function of NumPy's, which runs in Python between native parts, and `Images` a program of its own
that is run for some images of a batch at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping
from math import prod
from typing import Any, Protocol, TypeVar

import numpy as np

from fastconv.problem import Problem, Shape
from fastconv.problem.remember import Spec

AnyOp = TypeVar("AnyOp", bound="Op")
# A value's number, an array that never changes, or nothing.
Operand = Any


@dataclasses.dataclass(frozen=True, eq=False)
class Op:
    """One operation; ``layer`` and ``kind`` name the layer or node that it comes from.

    ``fused`` names those that it does besides, such as "bn1 (BatchNorm2d)".
    """

    inputs: tuple[Operand, ...]
    outputs: tuple[int, ...]
    layer: str
    kind: str
    fused: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    @property
    def label(self) -> str:
        """What it is called: its layer and kind."""
        return f"{self.layer} ({self.kind})" if self.layer else self.kind

    def taking(self, other: Op) -> tuple[str, ...]:
        """Return the names of what it does besides once it does another operation's work too."""
        return (*self.fused, other.label, *other.fused)

    @property
    def reads(self) -> tuple[int, ...]:
        """The numbers of the values that it reads."""
        return tuple([v for v in self.inputs if isinstance(v, int)])

    def having(self: AnyOp, /, **fields: Any) -> AnyOp:
        """Return the operation with other fields: `dataclasses.replace`, and quicker."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **fields)
        return made


@dataclasses.dataclass(frozen=True, eq=False)
class Derived:
    """How a pass made a problem: a function of the values' shapes and of operations' problems.

    It says the same for any sizes, so that what a pass did can be done again for others.
    """

    change: Callable[..., Problem]
    ops: tuple[Solve, ...] = ()


class Reworked(Protocol):
    """Parameters that a pass changed: made when they are packed, from frozen ones and a key."""

    @property
    def source(self) -> tuple[Any, ...]:
        """The parameters that the changed ones are made of."""

    @property
    def key(self) -> Any:
        """The change; two with equal keys and the same source make the same parameters."""

    def __call__(self) -> tuple[Any, ...]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Solve(Op):
    """A problem, its parameters, and the algorithm and backend that were asked for.

    Parameters that a pass has changed are worked out when they are packed, so that no second set
    of a network's weights is ever there. ``derived`` is how a pass made the problem.
    """

    problem: Problem
    parameters: tuple[Any, ...] | Reworked = ()
    algorithm: str | None = None
    backend: str | None = None
    derived: Derived | None = dataclasses.field(default=None, kw_only=True)

    def arrays(self) -> tuple[Any, ...]:
        """Return the parameters, worked out."""
        return self.parameters() if callable(self.parameters) else self.parameters

    def posed_as(self, problem: Problem, inputs: tuple[Operand, ...]) -> Solve:
        """Return the operation of another problem and other inputs."""
        return self.having(problem=problem, inputs=inputs)

    def changed(
        self, change: Callable[..., Problem], values: Mapping[int, Spec], *others: Solve, **new: Any
    ) -> Solve:
        """Return the operation with another problem: ``change`` of the values and problems.

        ``change`` takes the values, this operation's problem, and those of ``others``.
        """
        ops = (self, *others)
        problem = change(values, *(op.problem for op in ops))
        return self.having(problem=problem, derived=Derived(change, ops), **new)


@dataclasses.dataclass(frozen=True, eq=False)
class View(Op):
    """The cells of its input from ``start`` on, in the output's shape: nothing is moved."""

    start: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Call(Op):
    """A Python function over the arrays of ``inputs``, which gives the outputs' arrays.

    ``key``: each cell of its one output depends on one cell of each input and on numbers alone,
    by a function without steps; calls of one key compute the same. None: any other function.
    ``into`` is the same function in a form that writes its output, or a tuple of several, which it
    takes as its first argument; None where there is no such form.
    """

    function: Callable[..., Any]
    key: tuple[Hashable, ...] | None = None
    into: Callable[..., None] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Images(Op):
    """The operations ``replaced``, done for some images of the batch at a time.

    All that it reads and makes has the batch as its first dimension.
    """

    portions: tuple[Portion, ...]
    replaced: tuple[Op, ...]


@dataclasses.dataclass(frozen=True)
class Portion:
    """A program of some images, done ``count`` times, from the image ``first`` on."""

    program: Program
    first: int
    count: int

    @property
    def each(self) -> int:
        """How many images it is of."""
        return int(self.program.values[self.program.inputs[0]].shape[0])


@dataclasses.dataclass(frozen=True)
class Program:
    """Operations in order, each after those that it reads from; shapes and dtypes by value."""

    values: Mapping[int, Spec]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[Operand, ...]
    # Values that passes added: each has the shape and dtype of another.
    like: Mapping[int, int] = dataclasses.field(default_factory=dict)

    def posed(self) -> list[Op]:
        """Return the operations of the whole batch that do something, however they are done."""
        several = (op.replaced if isinstance(op, Images) else (op,) for op in self.ops)
        return [op for ops in several for op in ops if not isinstance(op, View)]

    def producers(self) -> dict[int, Op]:
        """Return the operation that each value comes from."""
        return {number: op for op in self.ops for number in op.outputs}

    def readers(self) -> dict[int, list[Op]]:
        """Return the operations that read each value, once for each time that they do."""
        found: dict[int, list[Op]] = {number: [] for number in self.values}
        for op in self.ops:
            for number in op.reads:
                found[number].append(op)
        return found

    def kept(self) -> set[int]:
        """Return the values that the caller is given."""
        return {v for v in self.outputs if isinstance(v, int)}

    def nbytes(self, number: int) -> int:
        """Return the bytes of a value."""
        spec = self.values[number]
        return int(prod(spec.shape)) * spec.dtype.itemsize

    def replaced(self, changes: Mapping[Op, Iterable[Op]]) -> Program:
        """Return the program with operations replaced by others, or by none."""
        ops: list[Op] = []
        for op in self.ops:
            ops.extend(changes.get(op, (op,)))
        return dataclasses.replace(self, ops=tuple(ops))

    def renamed(self, names: Mapping[int, Operand]) -> Program:
        """Return the program with values read under other numbers, or as constants."""

        def new(operand: Operand) -> Operand:
            while isinstance(operand, int) and operand in names:
                operand = names[operand]
            return operand

        ops = tuple([op.having(inputs=tuple(map(new, op.inputs))) for op in self.ops])
        return dataclasses.replace(self, ops=ops, outputs=tuple(map(new, self.outputs)))

    def added(self, shape: Shape, dtype: Any) -> tuple[Program, int]:
        """Return the program with one more value, and its number."""
        number = max(self.values, default=-1) + 1
        values = {**self.values, number: Spec(tuple(shape), np.dtype(dtype))}
        return dataclasses.replace(self, values=values), number
