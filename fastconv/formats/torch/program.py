"""PyTorch modules as networks: exported by torch, then every call translated."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fastconv.formats.torch.builder import build, is_translated
from fastconv.formats.torch.call import Unsupported, dtype_name, length
from fastconv.formats.torch.functional import made_functional
from fastconv.formats.torch.guards import condition
from fastconv.formats.torch.recurrent import is_taken_apart
from fastconv.network import Network, Port
from fastconv.network.sizes import Condition
from fastconv.problem.values import is_sequence, items_of, one_of, shown

OPEN = ("all", "batch", "none")


def convert(module: Any, example_inputs: Any = None, *, open_sizes: str = "all") -> Network:
    """Give a PyTorch module as a network.

    The module is traced by ``torch.export`` in evaluation mode: dropout does nothing, batch
    normalisation takes its running statistics. Its own mode and weights stay as they are. Weights
    are copied: what is packed from them must stay right whatever is done to the module later.

    Parameters
    ----------
    module : torch.nn.Module, callable or torch.export.ExportedProgram
        Its parameters and buffers may lie on any device.
    example_inputs : tensor or tuple of tensors
        Of the shapes and dtypes that the module takes. A program that is exported already needs
        none, and keeps the sizes that it was exported with.
    open_sizes : {"all", "batch", "none"}
        Which sizes may differ from the example's: all that the module allows to (what it takes for
        granted of them is checked at each call), the first of each input, or none. Deep networks
        are traced several times faster with fewer.

    Returns
    -------
    Network
        Inputs in the order of ``example_inputs``. Several outputs, in tuples, lists or dicts, come
        as one flat tuple; a dict's keys become names of outputs.

    Raises
    ------
    ValueError
        For operators that are not supported: all of them are named, each with the layer that calls
        it. For a module that torch cannot export, such as one whose control flow hangs on values.
    """
    if isinstance(module, torch.export.ExportedProgram):
        program, conditions = _decomposed(module), _conditions(module)
    else:
        program, conditions = _export(
            module, example_inputs, one_of(open_sizes, OPEN, "open_sizes")
        )
        if _taken_apart(program) or not made_functional(program.graph):
            program = _decomposed(program)
    name = type(module).__name__ if isinstance(module, torch.nn.Module) else "program"
    inputs, known, labels = _inputs(program)
    _refuse_mutation(program)
    symbols = _Symbols(inputs)
    return Network.from_graph(
        build(
            program.graph,
            known,
            labels,
            _output_names(program, {node.name for node in inputs}),
            name,
            symbols.port,
            conditions or (),
        )
    )


def _export(module: Any, example_inputs: Any, sizes: str) -> tuple[Any, Sequence[Condition]]:
    """Export with all sizes open that can be, else as given."""
    if example_inputs is None:
        raise ValueError("convert needs example_inputs: a tensor or a tuple of tensors")
    if isinstance(example_inputs, torch.Tensor):
        given: tuple[Any, ...] = (example_inputs,)
    elif is_sequence(example_inputs):
        given = tuple(items_of(example_inputs, "example_inputs"))
    else:
        raise TypeError(f"example_inputs must be tensors, not {shown(example_inputs)}")
    for value in given:
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"example_inputs must be tensors, not {type(value).__name__}")
    if not callable(module):
        raise TypeError(f"module must be a torch.nn.Module or callable, not {module!r}")
    whole = module if isinstance(module, torch.nn.Module) else _Function(module)
    # What is traced with a batch of 1 may hold for nothing else.
    doubled = tuple(torch.cat([v, v]) if v.ndim and v.shape[0] == 1 else v for v in given)
    ends = {"all": None, "batch": 1, "none": 0}
    open_ = tuple(
        dict.fromkeys(range(value.ndim)[: ends[sizes]], torch.export.Dim.AUTO) for value in given
    )
    # Modules often take their inputs by *args: then all shapes stand in one tuple.
    with _evaluating(whole), torch.no_grad():
        ways = itertools.product((True, False), (doubled, given), (open_, (open_,)))
        for to_one, inputs, shapes in ways if sizes != "none" else ():
            with contextlib.suppress(Exception):  # torch raises many classes here
                program = _exported(whole, inputs, shapes, to_one)
                conditions = _conditions(program)
                if conditions is not None:
                    return program, _without_noise(program, conditions, whole, inputs)
        try:
            return _exported(whole, given, None, to_one=False), ()
        except Exception as error:
            raise ValueError(
                f"torch.export cannot trace {type(module).__name__}: {_first_line(error)}"
            ) from error


def _without_noise(
    program: Any, conditions: Sequence[Condition], module: Any, inputs: tuple[Any, ...]
) -> Sequence[Condition]:
    """Leave out that a batch is not 1, where with a batch of 1 the same is called.

    torch asks about sizes of 1 to know how memory lies, which has no meaning here.
    """
    kept = [c for c in conditions if not re.fullmatch(r"\w+\.shape\[0\] != 1", c[0])]
    if len(kept) == len(conditions):
        return conditions
    single = _exported(module, tuple(v[:1] if v.ndim else v for v in inputs), None, to_one=False)
    return kept if _calls(single) == _calls(program) else conditions


def _calls(program: Any) -> list[str]:
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    return [name for name in calls if name.startswith("aten.") and not name.startswith("aten.sym")]


def _exported(module: Any, inputs: tuple[Any, ...], shapes: Any, to_one: bool) -> Any:
    with _open_to_one(to_one), _hushed():
        return torch.export.export(module, inputs, dynamic_shapes=shapes)


def _open_to_one(to_one: bool = True) -> Any:
    """Let torch take nothing for granted of a size of 0 or 1, so that a batch of 1 stays open.

    Not so where values of one row or column are broadcast: then 1 must be told from other sizes.
    """
    from torch.fx.experimental import _config

    if not hasattr(_config, "backed_size_oblivious"):
        return contextlib.nullcontext()
    return _config.patch(backed_size_oblivious=to_one)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep from the log what torch says of each condition that it cannot solve for a size."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _conditions(program: Any) -> Sequence[Condition] | None:
    """Give what the program takes for granted of its sizes; None where that cannot be read."""
    places = {name: place for place, name in enumerate(program.graph_signature.user_inputs)}
    try:
        return [condition(code, places) for code in program._guards_code]
    except (AttributeError, ValueError):
        return None


def _decomposed(program: Any) -> Any:
    """Let torch take apart what has no translation here, and nothing else."""
    table = torch.export.default_decompositions()
    apart = _taken_apart(program)
    for target in list(table):
        if is_translated(target) and target not in apart:
            del table[target]
    with _open_to_one(), _hushed(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*treespec, LeafSpec.*", FutureWarning)  # torch's own
        return program.run_decompositions(table)


def _taken_apart(program: Any) -> set[Any]:
    """Return operators that have a translation, but not for these arguments."""
    nodes = program.graph.find_nodes(op="call_function", target=torch.ops.aten.lstm.input)
    return {node.target for node in nodes if is_taken_apart(node.target, node.args)}


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

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def _inputs(program: Any) -> tuple[list[Any], dict[str, Any], dict[str, str]]:
    """Give the nodes of the user's inputs; tensors and names of all other placeholders."""
    kinds = torch.export.graph_signature.InputKind
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    inputs, known, labels = [], {}, {}
    for node in program.graph.find_nodes(op="placeholder"):
        spec = specs[node.name]
        if spec.kind == kinds.USER_INPUT:
            if isinstance(node.meta.get("val"), torch.Tensor):
                inputs.append(node)
            else:
                known[node.name] = node.meta.get("val")
            continue
        labels[node.name] = spec.target
        held = program.state_dict if spec.target in program.state_dict else program.constants
        known[node.name] = held[spec.target]
    return inputs, known, labels


def _refuse_mutation(program: Any) -> None:
    kinds = torch.export.graph_signature.OutputKind
    for spec in program.graph_signature.output_specs:
        if spec.kind != kinds.USER_OUTPUT:
            raise ValueError(
                f"the module changes {spec.target!r} as it runs; a network has no state: take that "
                f"out of the module, or call .eval() before exporting it"
            )


def _output_names(program: Any, taken: set[str]) -> list[str]:
    """Name outputs: "output" and a number, or by the keys of the dict that they stand in."""
    spec = program.call_spec.out_spec
    places = pytree.tree_unflatten(range(spec.num_leaves), spec)
    names: list[str] = []
    for path, place in pytree.tree_leaves_with_path(places):
        keys = [str(part.key) for part in path if isinstance(part, pytree.MappingKey)]
        name = wanted = ".".join(keys) or "output"
        for count in itertools.count(place):
            if name not in names and name not in taken:
                break
            name = f"{wanted}{count}"
        names.append(name)
    return names


class _Symbols:
    """Names of open sizes, the same in inputs and outputs."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self._names: dict[str, str] = {}
        for node in inputs:
            for axis, size in enumerate(node.meta["val"].shape):
                if length(size) is None:
                    name = "batch" if axis == 0 else f"{node.name}_{axis}"
                    self._names.setdefault(str(size), name)

    def port(self, node: Any, name: str) -> Port:
        """Give a node's value as an input or output."""
        fake = node.meta["val"]
        known = [(length(size), self._names.get(str(size))) for size in fake.shape]
        sizes = tuple(name if n is None else n for n, name in known)
        try:
            return Port(name, sizes, dtype_name(fake.dtype))
        except Unsupported as reason:
            raise ValueError(f"input or output {name!r} has an unsupported {reason}") from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
