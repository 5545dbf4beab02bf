"""From a trace to a program: NumPy's functions become problems and views where they can.

What depends on constants alone was worked out while tracing, and appears as an array.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import Any

import numpy as np

from fastconv.dispatch import solve
from fastconv.network.errors import raise_of_node
from fastconv.network.program import Call, Op, Operand, Program, Solve, View
from fastconv.network.template import filled, split
from fastconv.network.trace import NumpyCall, Step, Trace, Traced
from fastconv.network.writing import writing
from fastconv.problem import (
    AdaptivePoolProblem,
    ArithmeticProblem,
    ConcatenateProblem,
    FunctionProblem,
    MatmulProblem,
    Problem,
    StridedProblem,
)
from fastconv.problem.arithmetic import DTYPES, FUNCTIONS
from fastconv.problem.moves import strides_of
from fastconv.problem.pointwise import FUNCTIONS as ONE_NUMBER
from fastconv.problem.remember import Spec
from fastconv.problem.values import name_of

# NumPy's functions that give views of contiguous arrays, or copies in another order.
_VIEWING = frozenset(
    ("reshape", "transpose", "squeeze", "expand_dims", "ravel", "getitem", "split", "array_split",
     "broadcast_to", "flip")
)  # fmt: skip
# Those of them that leave every cell where it is.
_RESHAPING = frozenset(("reshape", "squeeze", "expand_dims", "ravel"))
# Those that go on from cell to cell as smoothly as they are written: none has steps of its own.
_POINTWISE = frozenset(
    ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "square", "sqrt",
     "reciprocal", "negative", "absolute", "exp", "expm1", "log", "log1p", "tanh", "where", "clip",
     "less", "greater", "less_equal", "greater_equal", "as_type")
)  # fmt: skip
_POOLS = {"mean": "avg", "max": "max", "amax": "max"}


def lower(trace: Trace) -> Program:
    """Return a trace as a program."""
    return _Lowering(trace).program()


class _Lowering:
    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._numbers: dict[int, int] = {}
        self._values: dict[int, Spec] = {}
        self._ops: list[Op] = []

    def program(self) -> Program:
        inputs = tuple(self._number(value) for value in self._trace.inputs)
        for step in self._trace.steps:
            self._step(step)
        outputs = tuple(self._operand(value) for value in self._trace.outputs)
        return Program(self._values, tuple(self._ops), inputs, outputs)

    def _number(self, value: Traced) -> int:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._values)
            self._values[number] = Spec(value.shape, value.dtype)
        return number

    def _fresh(self, shape: tuple[int, ...], dtype: Any) -> int:
        number = len(self._values)
        self._values[number] = Spec(tuple(shape), np.dtype(dtype))
        return number

    def _operand(self, value: Any) -> Operand:
        if isinstance(value, Traced):
            return self._number(value)
        return None if value is None else np.asarray(value)

    def _step(self, step: Step) -> None:
        if step.problem is not None and any(isinstance(p, Traced) for p in step.parameters):
            # Weights that are computed are packed at each run.
            asked = {"algorithm": step.algorithm, "backend": step.backend}
            posed = (step.problem, step.operands, step.parameters)
            self._call(step, NumpyCall(solve, posed, asked))
            return
        if step.problem is not None:
            inputs = tuple(map(self._operand, step.operands))
            self._solve(step, step.problem, inputs, parameters=step.parameters,
                        algorithm=step.algorithm, backend=step.backend)  # fmt: skip
            return
        call = step.call
        assert call is not None
        name = call.function.__name__
        known_kinds = (
            self._view, self._arithmetic, self._function, self._product, self._concatenation,
            self._pool,
        )  # fmt: skip
        for known in known_kinds:
            if known(step, call, name):
                return
        self._call(step, call)

    def _solve(
        self, step: Step, problem: Problem, inputs: tuple[Operand, ...], **rest: Any
    ) -> None:
        outputs = tuple(map(self._number, step.results))
        self._ops.append(Solve(inputs, outputs, step.layer, step.kind, problem, **rest))

    def _view(self, step: Step, call: NumpyCall, name: str) -> bool:
        """Take views for what they are: cells that stay, or that are moved by strides."""
        value = call.arguments[0] if call.arguments else None
        if name not in _VIEWING or not isinstance(value, Traced) or value.dtype.kind not in "fiucb":
            return False
        if name == "getitem" and not _is_basic(call.arguments[1]):
            return False
        if name in _RESHAPING:
            # Whatever the shape: values are contiguous.
            self._ops.append(View((self._number(value),), (self._number(step.results[0]),),
                                  step.layer, step.kind))  # fmt: skip
            return True
        size = value.dtype.itemsize
        # No cell of it is looked at: one stands for all.
        memory = np.zeros(1, value.dtype)
        strides = tuple(n * size for n in strides_of(value.shape))
        whole = np.lib.stride_tricks.as_strided(memory, value.shape, strides, writeable=False)
        seen = call.function(whole, *call.arguments[1:], **call.options)
        views = seen if isinstance(seen, (list, tuple)) else [seen]
        for view, result in zip(views, step.results, strict=True):
            start = (_address(view) - _address(memory)) // size
            steps = tuple(n // size for n in view.strides)
            self._one_view(step, value, result, start, steps)
        return True

    def _one_view(
        self, step: Step, value: Traced, result: Traced, start: int, steps: tuple[int, ...]
    ) -> None:
        inputs, outputs = (self._number(value),), (self._number(result),)
        contiguous = all(
            n == 1 or a == b
            for n, a, b in zip(result.shape, steps, strides_of(result.shape), strict=True)
        )
        if contiguous:
            self._ops.append(View(inputs, outputs, step.layer, step.kind, start))
            return
        problem = StridedProblem(value.dtype, value.shape, result.shape, start, steps, step.kind)
        self._ops.append(Solve(inputs, outputs, step.layer, step.kind, problem))

    def _arithmetic(self, step: Step, call: NumpyCall, name: str) -> bool:
        (result,) = step.results if len(step.results) == 1 else (None,)
        if result is None or name not in FUNCTIONS or name_of(result.dtype) not in DTYPES:
            return False
        if len(call.arguments) != 2 or call.options:
            return False
        if any(isinstance(v, Traced) and v.dtype != result.dtype for v in call.arguments):
            return False
        operands = [
            v if isinstance(v, Traced) else np.asarray(v, result.dtype) for v in call.arguments
        ]
        # Tracing has seen that they broadcast.
        left, right = operands
        problem = ArithmeticProblem(result.dtype, name, tuple(left.shape), tuple(right.shape))
        self._solve(step, problem, tuple(map(self._operand, operands)))
        return True

    def _product(self, step: Step, call: NumpyCall, name: str) -> bool:
        """Multiply matrices by kernels, so that NumPy's BLAS has no threads in a network."""
        (result,) = step.results if len(step.results) == 1 else (None,)
        if name != "matmul" or result is None or name_of(result.dtype) not in DTYPES:
            return False
        if call.options or any(not hasattr(v, "dtype") for v in call.arguments):
            return False
        if any(v.dtype != result.dtype for v in call.arguments):
            return False
        operands = call.arguments
        problem = MatmulProblem.of(*(Spec(tuple(v.shape), v.dtype) for v in operands))
        self._solve(step, problem, tuple(map(self._operand, operands)))
        return True

    def _function(self, step: Step, call: NumpyCall, name: str) -> bool:
        value, result = call.arguments[0], step.results[0]
        if getattr(np, name, None) is not call.function or name not in ONE_NUMBER:
            return False
        if len(call.arguments) != 1 or call.options or not isinstance(value, Traced):
            return False
        if value.dtype.name not in DTYPES or value.dtype != result.dtype:
            return False
        self._solve(step, FunctionProblem.of(value, name), (self._operand(value),))
        return True

    def _concatenation(self, step: Step, call: NumpyCall, name: str) -> bool:
        result = step.results[0]
        if name not in ("concatenate", "stack") or isinstance(call.arguments[0], Traced):
            return False
        values = list(call.arguments[0])
        options = dict(zip(("axis",), call.arguments[1:], strict=False)) | call.options
        if set(options) - {"axis"} or any(v.dtype != result.dtype for v in values):
            return False
        axis = options.get("axis", 0) % len(result.shape)
        shapes = [tuple(v.shape) for v in values]
        if name == "stack":
            shapes = [(*shape[:axis], 1, *shape[axis:]) for shape in shapes]
        problem = ConcatenateProblem(result.dtype, tuple(shapes), axis)
        self._solve(step, problem, tuple(map(self._operand, values)))
        return True

    def _pool(self, step: Step, call: NumpyCall, name: str) -> bool:
        """Take a mean or maximum over the last dimensions for a global pool."""
        value, result = call.arguments[0], step.results[0]
        if name not in _POOLS or not isinstance(value, Traced):
            return False
        rank = len(value.shape)
        if value.dtype.name not in DTYPES or 0 in value.shape:
            return False
        options = dict(zip(("axis",), call.arguments[1:], strict=False)) | call.options
        axes = options.pop("axis", None)
        options.pop("keepdims", None)
        if options or axes is None:
            return False
        given = {a % rank for a in (axes if hasattr(axes, "__iter__") else (axes,))}
        first = rank - len(given)
        if not given or given != set(range(first, rank)):
            return False
        spec, inputs = Spec(value.shape, value.dtype), (self._number(value),)
        if first != 2 or rank > 5:
            # What is before and after that place are channels and their cells.
            length = prod(value.shape[first:])
            spec = Spec((1, value.size // length, length), value.dtype)
            seen = self._fresh(spec.shape, value.dtype)
            self._ops.append(View(inputs, (seen,), step.layer, step.kind))
            inputs = (seen,)
        problem = AdaptivePoolProblem.of_global(_POOLS[name], spec)
        pooled = self._fresh(problem.output_shape, value.dtype)
        self._ops.append(Solve(inputs, (pooled,), step.layer, step.kind, problem))
        self._ops.append(View((pooled,), (self._number(result),), step.layer, step.kind))
        return True

    def _call(self, step: Step, call: NumpyCall) -> None:
        """Leave it to NumPy."""
        inputs: list[Operand] = []
        arguments, options = split((call.arguments, call.options), _is_traced, inputs)
        where = step.layer, step.kind
        function = _bound(call.function, arguments, options, where)
        form = writing(call.function)
        into = None if form is None else _bound(form, arguments, options, where, given_out=True)
        outputs = tuple(map(self._number, step.results))
        operands = tuple(map(self._operand, inputs))
        key = _pointwise_key(call)
        self._ops.append(Call(operands, outputs, *where, function, key=key, into=into))


def _bound(
    function: Callable[..., Any], arguments: Any, options: Any, where: tuple[str, str], *,
    given_out: bool = False,
) -> Callable[..., Any]:  # fmt: skip
    """Return a function of the inputs alone, or with ``given_out`` of the output and those."""

    def bound(*arrays: Any) -> Any:
        lead, arrays = (arrays[:1], arrays[1:]) if given_out else ((), arrays)
        # As graphs run their nodes: what is not finite is a result, not a warning.
        with np.errstate(all="ignore"):
            try:
                return function(*lead, *filled(arguments, arrays), **filled(options, arrays))
            except Exception as error:
                raise_of_node(error, *where)

    return bound


def _pointwise_key(call: NumpyCall) -> tuple[Hashable, ...] | None:
    """Return the key of a call that makes each cell from one cell of each value and from numbers.

    None: it does not.
    """
    if call.function.__name__ not in _POINTWISE or call.options:
        return None
    key: list[Hashable] = [call.function.__name__]
    for value in call.arguments:
        if isinstance(value, Traced):
            key.append("")
        elif isinstance(value, np.dtype):
            key.append(value.name)
        else:
            number = np.asarray(value)
            if number.size != 1 or number.dtype.kind not in "fiub":
                return None
            key.append((type(value).__name__, number.dtype.name, number.tobytes()))
    return tuple(key)


def _is_traced(value: Any) -> bool:
    return isinstance(value, Traced)


def _is_basic(key: Any) -> bool:
    """Return whether indexing by ``key`` gives a view."""
    items = key if isinstance(key, tuple) else (key,)
    return all(
        item is None or item is Ellipsis or isinstance(item, (int, np.integer, slice))
        for item in items
    )


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])
