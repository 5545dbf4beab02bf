"""Tracing: a network called on shapes alone, to learn what problems it poses.

A `Traced` value stands for an array: it has a shape and a dtype and no data. The functional API
hands its problems to ``__fastconv_record__``; NumPy functions and operators are answered from
`shapes`. What is recorded is a list of steps, in order.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastconv.network import shapes
from fastconv.network.casting import as_type
from fastconv.problem import Problem, Shape
from fastconv.problem.remember import Spec

_scopes: contextvars.ContextVar[tuple[tuple[str, Any], ...]] = contextvars.ContextVar(
    "scopes", default=()
)


@dataclasses.dataclass(frozen=True)
class Field:
    """What one output sees of the first input: cells a dimension, and the step between outputs.

    ``size`` None: the whole input.
    """

    size: Shape | None
    step: Shape

    def through(self, window: tuple[Shape, Shape] | None) -> Field:
        """Return the field behind a sliding window of given spans and strides."""
        if window is None or self.size is None:
            return self
        spans, strides = window
        n = len(self.size)
        if len(spans) != n:
            return Field(None, self.step)
        return Field(
            tuple(f + (s - 1) * j for f, s, j in zip(self.size, spans, self.step, strict=True)),
            tuple(j * s for j, s in zip(self.step, strides, strict=True)),
        )


@dataclasses.dataclass(unsafe_hash=True)
class Step:
    """One operation of a traced network. ``problem`` is None for NumPy's own (add, reshape).

    ``inputs`` and ``parameters`` are what the problem was posed with: arrays, shapes and dtypes
    for traced values, None for what was left out. ``operands`` and ``results`` are the traced
    values themselves, and ``call`` is how NumPy was called.
    """

    layer: str
    kind: str
    problem: Problem | None
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    field: Field
    algorithm: str | None = None
    backend: str | None = None
    inputs: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)
    parameters: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)
    operands: tuple[Any, ...] = dataclasses.field(default=(), compare=False, repr=False)
    results: tuple[Traced, ...] = dataclasses.field(default=(), compare=False, repr=False)
    call: NumpyCall | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def runner(self) -> str:
        """What runs it where it is not a problem: NumPy, or a format's reference."""
        function = None if self.call is None else self.call.function
        return str(getattr(function, "runner", "numpy"))


@dataclasses.dataclass
class NumpyCall:
    """A function of NumPy's and its arguments, of which some are traced values."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Trace:
    """The steps of a network for given input shapes, its inputs, outputs, and their shapes."""

    input_shapes: tuple[Shape, ...]
    steps: list[Step] = dataclasses.field(default_factory=list)
    output_shapes: tuple[Shape, ...] = ()
    inputs: tuple[Traced, ...] = ()
    outputs: tuple[Any, ...] = ()


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A value of a traced network: shape and dtype, no data."""

    __fastconv_passes__ = True

    def __init__(self, trace: Trace, shape: Shape, dtype: Any, field: Field) -> None:
        self.trace = trace
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.field = field

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def T(self) -> Any:
        """The value with its dimensions in reverse."""
        return self.transpose()

    def __fastconv_record__(
        self,
        problem: Problem,
        inputs: tuple[Any, ...],
        parameters: tuple[Any, ...],
        algorithm: str | None,
        backend: str | None,
    ) -> Any:
        """Record a problem; give its output (or outputs) as traced values."""
        field = _joined(inputs).through(problem.window)
        if _sees_all(problem):
            field = Field(None, field.step)
        given = tuple(tuple(v.shape) for v in inputs if v is not None)
        posed = tuple(Spec(v.shape, v.dtype) if isinstance(v, Traced) else v for v in inputs)
        one = ((problem.output_shape, problem.output_dtype),)
        outputs = getattr(problem, "output_shapes", None)
        results = tuple(Traced(self.trace, shape, dtype, field) for shape, dtype in outputs or one)
        self._record(
            problem.name, problem, given, results,
            algorithm=algorithm, backend=backend, inputs=posed, parameters=parameters,
            operands=inputs,
        )  # fmt: skip
        return results if outputs else results[0]

    def _record(
        self,
        name: str,
        problem: Problem | None,
        given: tuple[Shape, ...],
        results: tuple[Traced, ...],
        **asked: Any,
    ) -> None:
        layer, kind = _current(name)
        first = results[0]
        self.trace.steps.append(
            Step(layer, kind, problem, given, first.shape, first.field, results=results, **asked)
        )

    def _answer(self, name: str, inputs: Sequence[Any], spec: shapes.Spec, call: NumpyCall) -> Any:
        """Record an operation of NumPy's, and give its outputs."""
        arrays = [v for v in inputs if hasattr(v, "shape")]
        field = _joined(arrays)
        given = tuple(tuple(v.shape) for v in arrays)
        several = spec if isinstance(spec, list) else [spec]
        results = tuple(Traced(self.trace, shape, dtype, field) for shape, dtype in several)
        self._record(name, None, given, results, operands=tuple(inputs), call=call)
        return results if isinstance(spec, list) else results[0]

    def answer(self, function: Any, values: Sequence[Any], specs: Sequence[Any]) -> Any:
        """Record a function over whole values, whose outputs' shapes and dtypes are known."""
        call = NumpyCall(_Checked(function, tuple(specs)), tuple(values))
        return self._answer(function.__name__, values, list(specs), call)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options.get("out") is not None or ufunc.nout != 1:
            return NotImplemented
        rule = shapes.matmul(*inputs) if ufunc is np.matmul else shapes.elementwise(ufunc, inputs)
        return self._answer(ufunc.__name__, inputs, rule, NumpyCall(ufunc, inputs, options))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        rule = shapes.RULES.get(function.__name__)
        if rule is None:
            raise TypeError(
                f"numpy.{function.__name__} is not for traced networks; those that are: "
                f"{', '.join(sorted(shapes.RULES))}"
            )
        first = args[0]
        inputs = first if isinstance(first, (list, tuple)) else (first,)
        if function is np.where:
            inputs = args
        call = NumpyCall(function, args, options)
        return self._answer(function.__name__, inputs, rule(*args, **options), call)

    def reshape(self, *shape: Any) -> Any:
        """Return the value in another shape."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return np.reshape(self, wanted)

    def transpose(self, *axes: Any) -> Any:
        """Return the value with its dimensions permuted."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return np.transpose(self, order or None)

    def flatten(self) -> Any:
        """Return the value in one dimension."""
        return self.reshape(-1)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Return the mean over axes."""
        return np.mean(self, axis=axis, keepdims=keepdims)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return the value in another dtype."""
        call = NumpyCall(as_type, (self, np.dtype(dtype)))
        return self._answer("astype", (self,), (self.shape, np.dtype(dtype)), call)

    def __getitem__(self, key: Any) -> Any:
        spec = (shapes.indexed(self.shape, key), self.dtype)
        return self._answer("getitem", (self,), spec, NumpyCall(operator.getitem, (self, key)))

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        raise TypeError("a traced network's values are not known: it cannot branch on them")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("a traced value has no data: use fastconv's functions or NumPy's on it")

    def __repr__(self) -> str:
        return f"Traced(shape={self.shape}, dtype={self.dtype})"


def _check_count(function: Callable[..., Any], count: int) -> None:
    """Refuse more or fewer inputs than a module's ``forward`` or a function takes."""
    try:
        inspect.signature(getattr(function, "forward", function)).bind(*[None] * count)
    except TypeError as error:
        raise TypeError(f"input_shape has {count} shapes, which do not fit: {error}") from None
    except ValueError:
        # It tells no signature.
        return


def trace(function: Callable[..., Any], specs: Sequence[tuple[Shape, Any]]) -> Trace:
    """Call ``function`` on traced values of given (shape, dtype), and give what it did."""
    result = Trace(tuple(tuple(shape) for shape, _ in specs))
    values = []
    for shape, dtype in specs:
        n = max(0, len(shape) - 2)
        values.append(Traced(result, shape, dtype, Field((1,) * n, (1,) * n)))
    result.inputs = tuple(values)
    _check_count(function, len(values))
    outputs = function(*values)
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    result.outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    result.output_shapes = tuple(shapes.shape_of(v) for v in result.outputs)
    return result


class _Checked:
    """A function whose results must have the shapes that were told beforehand."""

    def __init__(self, function: Any, specs: tuple[Any, ...]) -> None:
        self._function = function
        self._specs = specs
        self.__name__ = function.__name__
        self.runner = getattr(function, "runner", "numpy")

    def __call__(self, *values: Any) -> Any:
        results = self._function(*values)
        several = results if isinstance(results, tuple) else (results,)
        for result, (shape, _) in zip(several, self._specs, strict=True):
            if np.shape(result) != tuple(shape):
                raise ValueError(
                    f"{self.__name__} gave a shape of {list(np.shape(result))} where its rule "
                    f"says {list(shape)}"
                )
        return several

    @property
    def into(self) -> Any:
        """The function's own form that writes its results, see `writing`."""
        return getattr(self._function, "into", None)


@contextlib.contextmanager
def scope(name: str, module: Any = None) -> Iterator[None]:
    """Name the layer that the steps inside belong to; ``module`` or its name is their kind."""
    token = _scopes.set((*_scopes.get(), (name, module)))
    try:
        yield
    finally:
        _scopes.reset(token)


@contextlib.contextmanager
def scopes() -> Iterator[Callable[[str, Any], None]]:
    """Yield a function that names the layer of the steps from there on, as `scope` does."""
    outer = _scopes.get()
    token = _scopes.set(outer)

    def enter(name: str, module: Any) -> None:
        _scopes.set((*outer, (name, module)))

    try:
        yield enter
    finally:
        _scopes.reset(token)


def _current(default_kind: str) -> tuple[str, str]:
    """Return the innermost layer's name, and the kind of a step in it."""
    scopes = _scopes.get()
    if not scopes:
        return "", default_kind
    name, module = scopes[-1]
    if module is None or isinstance(module, str):
        return name, module or default_kind
    leaf = not getattr(module, "_modules", None)
    return name, type(module).__name__ if leaf else default_kind


def _joined(values: Sequence[Any]) -> Field:
    """Return the field of a value made of several: the largest, with the first one's step."""
    fields = [v.field for v in values if isinstance(v, Traced)]
    first = fields[0]
    if all(field is first for field in fields):
        return first
    if any(f.size is None for f in fields):
        return Field(None, first.step)
    sizes = [f.size for f in fields if f.size is not None and len(f.size) == len(first.step)]
    return Field(tuple(max(column) for column in zip(*sizes, strict=True)), first.step)


def _sees_all(problem: Problem) -> bool:
    """Return whether each output sees the whole of its input."""
    if problem.name.startswith(("adaptive", "global")):
        return problem.window is None or all(length == 1 for length in _spatial(problem))
    return problem.name in ("linear", "instance_norm", "group_norm", "layer_norm")


def _spatial(problem: Any) -> Shape:
    size: Shape = problem.output_size
    return size
