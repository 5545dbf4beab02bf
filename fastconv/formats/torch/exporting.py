"""torch.export with as many sizes open as it can be, and a batch of 1 served like any other.

torch asks about sizes of 1 to know how memory is laid out, where strides have no meaning here, and
takes the answer for a property of the module. What it takes for granted of the batch is therefore
compared with a second trace, of a batch of 1: where that calls the same, the condition is dropped;
where it calls something else, both traces are kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import itertools
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from fastconv.formats.torch.alike import (
    Sizes,
    is_alike,
    keeps_ones,
    known_length,
    looks_at_sizes_of_one,
)
from fastconv.formats.torch.guards import condition
from fastconv.network.sizes import Condition, Expression, evaluate
from fastconv.problem import Shape
from fastconv.problem.values import is_sequence, items_of, shown

OPEN = ("all", "batch", "none")
_WAY_OUT = (
    "rewrite that part with torch.where or torch functions of whole tensors, move it in front of "
    "or behind the network, or export the module to ONNX (torch.onnx.export) for fastconv.load"
)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A program and what its inputs' sizes must satisfy.

    ``single`` is another one for a batch of 1, where the module does something else with that.
    ``batch`` are the flat places of the inputs whose first axis is the batch. ``is_given``: the
    program is the caller's own, and must not be changed.
    """

    program: Any
    conditions: Sequence[Condition]
    batch: tuple[int, ...] = ()
    single: Exported | None = None
    is_given: bool = False


def export(module: Any, example_inputs: Any, sizes: str) -> Exported:
    """Export a module with all sizes open that ``sizes`` asks for and torch allows.

    Raises
    ------
    ValueError
        Without example inputs, and for a module that torch cannot trace.
    TypeError
        For inputs that are not tensors.
    """
    args, kwargs = _arguments(example_inputs)
    if not callable(module):
        raise TypeError(f"module must be a torch.nn.Module or callable, not {module!r}")
    whole = module if isinstance(module, torch.nn.Module) else _Function(module)
    given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if _is_tensor(leaf)]
    with _evaluating(whole), torch.no_grad():
        try:
            for to_one, inputs in _ways(args, kwargs) if sizes != "none" else ():
                with contextlib.suppress(Exception):  # torch raises many classes here
                    found = _open(whole, inputs, (args, kwargs), sizes, to_one)
                    if found is not None and _holds(found, given):
                        return found
            return Exported(_exported(whole, (args, kwargs), None, to_one=False), ())
        except (Exception, _ByValue) as error:
            raise ValueError(
                f"torch.export cannot trace {type(module).__name__}: {_first_line(error)}; "
                f"{_WAY_OUT}"
            ) from error


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return example inputs as positional and keyword arguments."""
    if example_inputs is None:
        raise ValueError("convert needs example_inputs: a tensor or a tuple of tensors")
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    if isinstance(example_inputs, torch.Tensor):
        args = (example_inputs,)
    elif isinstance(example_inputs, Mapping):
        kwargs = {str(name): value for name, value in example_inputs.items()}
    elif is_sequence(example_inputs):
        args = tuple(items_of(example_inputs, "example_inputs"))
    else:
        raise TypeError(f"example_inputs must be tensors, not {shown(example_inputs)}")
    for value in pytree.tree_leaves((args, kwargs)):
        if not _is_tensor(value):
            raise TypeError(
                f"example_inputs must be tensors, not {type(value).__name__}; for other arguments "
                f"convert a function of the tensors that passes them on"
            )
    return args, kwargs


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


Inputs = tuple[tuple[Any, ...], dict[str, Any]]


def _ways(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[bool, Inputs]]:
    """Yield how to trace, the most general way first.

    What is traced with a batch of 1 may hold for nothing else, so a batch of 2 comes before.
    """
    given: Inputs = (args, kwargs)
    doubled = pytree.tree_map(lambda v: torch.cat([v, v]) if _is_single(v) else v, given)
    both = [doubled, given] if any(map(_is_single, pytree.tree_leaves(given))) else [given]
    yield from itertools.product((True, False), both)


def _is_single(value: Any) -> bool:
    return bool(_is_tensor(value) and value.ndim and value.shape[0] == 1)


def _open(module: Any, inputs: Inputs, given: Inputs, sizes: str, to_one: bool) -> Exported | None:
    """Export with open sizes; None where what the program takes for granted cannot be read."""
    ends = {"all": None, "batch": 1}

    def opened(value: Any) -> Any:
        return dict.fromkeys(range(value.ndim)[: ends[sizes]], torch.export.Dim.AUTO)

    program = _exported(module, inputs, _shapes(module, inputs, opened), to_one)
    conditions = conditions_of(program)
    if conditions is None:
        return None
    if not to_one:
        conditions = [*_ranges(program), *conditions]
    sizes_of = Sizes.of(program)
    suspects = [each for each in conditions if _is_of_memory(each[1])]
    at_one = sizes_of.at_one()
    # Whether a batch of 1 is served as this trace is.
    alike = to_one and all(_is_true(c[1], at_one) for c in conditions)
    alike = alike and not looks_at_sizes_of_one(program)
    left = list(conditions)
    for upwards in (False, True):
        shapes = _flipped(sizes_of, conditions, [c for c in suspects if c in left], upwards)
        broken = [c for c in left if c in suspects and not _is_true(c[1], shapes)]
        if (broken or not alike) and _is_alike_at(module, program, inputs, shapes):
            alike, left = True, [c for c in left if c not in broken]
    if alike or _is_alike_at(module, program, inputs, at_one):
        return Exported(program, [_or_single(c, sizes_of) for c in left])
    return _with_single(module, program, conditions, inputs, opened, to_one)


def _is_alike_at(module: Any, program: Any, inputs: Inputs, shapes: Sequence[Shape]) -> bool:
    """Return whether the module calls the same for inputs of other shapes."""
    given = iter(shapes)
    other = pytree.tree_map(lambda value: value.new_zeros(next(given)), inputs)
    try:
        return is_alike(program, _exported(module, other, None, to_one=False), shapes)
    except (Exception, _ByValue):  # not shapes that this module takes
        return False


def _with_single(
    module: Any,
    program: Any,
    conditions: Sequence[Condition],
    inputs: Inputs,
    opened: Callable[[Any], Any],
    to_one: bool,
) -> Exported:
    """Return a program with that of a batch of 1, where the module has one."""
    batch = Sizes.of(program).batch
    places = itertools.count()
    first = pytree.tree_map(lambda v: v[:1] if next(places) in batch else v, inputs)

    def all_but_batch(value: Any) -> Any:
        single = value.ndim and value.shape[0] == 1
        return {**opened(value), **({0: torch.export.Dim.STATIC} if single else {})}

    if not batch:
        return Exported(program, conditions)
    try:
        single = _exported(module, first, _shapes(module, first, all_but_batch), to_one)
        of_single = conditions_of(single)
    except (Exception, _ByValue):  # a batch of 1 is not for this module
        return Exported(program, conditions)
    if of_single is None:
        return Exported(program, conditions)
    if not to_one:
        of_single = [*_ranges(single), *of_single]
    of_single = [*_fixed(program, single, batch), *of_single]
    return Exported(program, conditions, batch, Exported(single, of_single))


def _is_of_memory(expression: Expression) -> bool:
    """Return whether a condition may be about how memory is laid out: whether a length is 1."""
    word, *given = expression
    numbers = [value[1] for value in given if isinstance(value, tuple) and value[0] == "number"]
    if word in (">", ">=", "<", "<=", "==", "!="):
        return any(number in (1, 2) for number in numbers) or _has_maximum(expression)
    return word in ("and", "or", "not") and all(map(_is_of_memory, given))


def _has_maximum(expression: Any) -> bool:
    """Return whether an expression is one of strides, which are products of max(1, length)."""
    if not isinstance(expression, tuple):
        return False
    return expression[0] == "max" or any(map(_has_maximum, expression[1:]))


def _flipped(
    sizes: Sizes, conditions: Sequence[Condition], suspects: Sequence[Condition], upwards: bool
) -> list[Shape]:
    """Return shapes at which some of the ``suspects`` do not hold, and all else does.

    Open lengths are the nearest such, below those of the example or above them.
    """
    real = [each for each in conditions if not _is_of_memory(each[1])]
    shapes = sizes.at_one()
    for symbol, hint in sizes.open_lengths().items():
        for length in range(hint + 1, 2 * hint + 64) if upwards else range(hint - 1, 0, -1):
            tried = sizes.with_length(shapes, symbol, length)
            if all(_is_true(c[1], tried) == _is_true(c[1], shapes) for c in real) and any(
                _is_true(c[1], shapes) and not _is_true(c[1], tried) for c in suspects
            ):
                shapes = tried
                break
    return shapes


def _or_single(each: Condition, sizes: Sizes) -> Condition:
    """Return a condition that does not hold for a batch of 1 as one that allows it."""
    text, expression = each
    if not sizes.batch or _is_true(expression, sizes.at_one()):
        return each
    single = [("==", ("size", place, 0), ("number", 1)) for place in sizes.batch]
    return text, ("or", expression, ("and", *single))


def _is_true(expression: Expression, shapes: Sequence[tuple[int, ...]]) -> bool:
    try:
        return bool(evaluate(expression, shapes))
    except ValueError:
        return False


def _holds(found: Exported, given: Sequence[Any]) -> bool:
    """Return whether the example itself is served."""
    shapes = [tuple(tensor.shape) for tensor in given]
    if found.single is not None and all(shapes[place][0] == 1 for place in found.batch):
        found = found.single
    if keeps_ones(found.program, shapes):
        return False
    return all(_is_true(expression, shapes) for _, expression in found.conditions)


def _shapes(module: Any, inputs: Inputs, opened: Callable[[Any], Any]) -> Any:
    """Return torch's ``dynamic_shapes``, by the names of the arguments of ``forward``."""
    args, kwargs = inputs
    signature = inspect.signature(module.forward)
    arguments = dict(signature.bind(*args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and name in arguments:
            arguments.update(arguments.pop(name))
    return pytree.tree_map(opened, arguments)


def _exported(module: Any, inputs: Inputs, shapes: Any, to_one: bool) -> Any:
    args, kwargs = inputs
    said = io.StringIO()
    try:
        # torch prints the whole graph for each branch on a value.
        with open_to_one(to_one), hushed(), contextlib.redirect_stderr(said):
            program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes)
    except GuardOnDataDependentSymNode as error:
        raise _ByValue(_first_line(error)) from error
    sys.stderr.write(said.getvalue())
    return program


class _ByValue(BaseException):
    """A branch on a value, which no other way of tracing avoids."""


def open_to_one(to_one: bool = True) -> Any:
    """Let torch take nothing for granted of a size of 0 or 1, so that a batch of 1 stays open.

    Not so where values of one row or column are broadcast: then 1 must be told from other sizes.
    """
    from torch.fx.experimental import _config

    if not hasattr(_config, "backed_size_oblivious"):
        return contextlib.nullcontext()
    return _config.patch(backed_size_oblivious=to_one)


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Keep from the log what torch says of each size that it cannot leave open."""
    names = ("torch.fx.experimental.symbolic_shapes", "torch._export.non_strict_utils")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Those of torch's tracing and of its own kernels, none of which run later.
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def conditions_of(program: Any) -> Sequence[Condition] | None:
    """Return what the program takes for granted of its sizes; None where that cannot be read."""
    places = {name: place for place, name in enumerate(program.graph_signature.user_inputs)}
    try:
        return [condition(code, places) for code in program._guards_code]
    except (AttributeError, ValueError):
        return None


def _ranges(program: Any) -> list[Condition]:
    """Return the least sizes that a trace took for granted without asking."""
    found: list[Condition] = []
    for place, node in enumerate(user_inputs(program)):
        for axis, size in enumerate(node.meta["val"].shape):
            symbol = getattr(getattr(size, "node", None), "expr", None)
            least = program.range_constraints[symbol].lower if symbol is not None else 0
            if least > 0:
                text = f"{node.name}.shape[{axis}] >= {int(least)}"
                found.append((text, (">=", ("size", place, axis), ("number", int(least)))))
    return found


def _fixed(program: Any, single: Any, batch: Sequence[int]) -> list[Condition]:
    """Return the sizes that are open in a program, and not in that of a batch of 1."""
    found: list[Condition] = []
    for place, (one, other) in enumerate(zip(*map(user_inputs, (program, single)), strict=True)):
        shapes = (map(known_length, node.meta["val"].shape) for node in (one, other))
        pairs = zip(*shapes, strict=True)
        for axis, (size, fixed) in enumerate(pairs):
            is_batch = axis == 0 and place in batch
            if isinstance(fixed, int) and not isinstance(size, int) and not is_batch:
                text = f"{other.name}.shape[{axis}] == {fixed}"
                found.append((text, ("==", ("size", place, axis), ("number", fixed))))
    return found


def user_inputs(program: Any) -> list[Any]:
    """Return the nodes of the tensors that a program is called with."""
    wanted = set(program.graph_signature.user_inputs)
    nodes = program.graph.find_nodes(op="placeholder")
    return [node for node in nodes if node.name in wanted and _is_tensor(node.meta.get("val"))]


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Put a module in evaluation mode, and each part back into its own mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


class _Function(torch.nn.Module):
    """A callable as a module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.function(*inputs, **named)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
