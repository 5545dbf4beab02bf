"""PyTorch modules as networks: exported by torch, then every call translated."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fastconv.dispatch import Parameter
from fastconv.formats.torch.builder import WAY_OUT, build, by_batch, is_translated
from fastconv.formats.torch.call import Unsupported, dtype_name, length
from fastconv.formats.torch.exporting import (
    OPEN,
    Exported,
    conditions_of,
    export,
    hushed,
    open_to_one,
)
from fastconv.formats.torch.functional import made_functional
from fastconv.formats.torch.recurrent import is_taken_apart
from fastconv.network import Graph, Network, Port
from fastconv.network.widening import in_float32
from fastconv.problem.values import one_of


def convert(module: Any, example_inputs: Any = None, *, open_sizes: str = "all") -> Network:
    """Return a PyTorch module as a network.

    The module is traced by ``torch.export`` in evaluation mode: dropout does nothing, batch
    normalisation takes its running statistics. Its own mode and weights stay as they are. Weights
    are copied: what is packed from them must stay right whatever is done to the module later.
    Modules of 16-bit floats compute in float32, and round their outputs alone.

    Parameters
    ----------
    module : torch.nn.Module, callable or torch.export.ExportedProgram
        Its parameters and buffers may be on any device.
    example_inputs : tensor, tuple of tensors or dict of tensors
        Of the shapes and dtypes that the module takes: one input, several by position, or several
        by the names of ``forward``'s arguments. An argument may itself be a tuple, list or dict of
        tensors. A program that is exported already needs none, and keeps the sizes that it was
        exported with.
    open_sizes : {"all", "batch", "none"}
        Which sizes may differ from the example's: all that the module allows to (what it takes for
        granted of them is checked at each call), the first of each input, or none. Deep networks
        are traced several times faster with fewer. With "all" and "batch", a batch of 1 is served
        as well as any other; where the module does something else with it, such as ``squeeze()``,
        so does the network.

    Returns
    -------
    Network
        Inputs in the order of ``example_inputs``, tuples and dicts in them taken apart. Several
        outputs, in tuples, lists or dicts, come as one flat tuple; a dict's keys become names of
        outputs.

    Raises
    ------
    ValueError
        For operators that are not supported: all of them are named, each with the layer that calls
        it. For a module that torch cannot export, such as one whose control flow depends on values.
    TypeError
        For example inputs that are not tensors.
    """
    if isinstance(module, torch.export.ExportedProgram):
        found = Exported(module, conditions_of(module) or (), is_given=True)
    else:
        found = export(module, example_inputs, one_of(open_sizes, OPEN, "open_sizes"))
    name = type(module).__name__ if isinstance(module, torch.nn.Module) else "program"
    kept: dict[Any, Parameter] = {}
    graph = _graph(found, name, kept)
    if found.single is not None:
        single = _graph(found.single, name, kept)
        graph = by_batch(graph, single, found.batch)
    return Network.from_graph(in_float32(graph))


def _graph(found: Exported, name: str, kept: dict[Any, Parameter]) -> Graph:
    """Return one program as a graph; ``kept`` are the weights that several share."""
    program = found.program
    if found.is_given or _taken_apart(program) or not made_functional(program.graph):
        program = _decomposed(program)
    inputs, known, labels = _inputs(program)
    _refuse_mutation(program)
    symbols = _Symbols(inputs)
    return build(
        program.graph,
        known,
        labels,
        _output_names(program, {node.name for node in inputs}),
        name,
        symbols.port,
        found.conditions,
        kept,
    )


def _decomposed(program: Any) -> Any:
    """Let torch take apart what has no translation here, and nothing else."""
    table = torch.export.default_decompositions()
    apart = _taken_apart(program)
    for target in list(table):
        if is_translated(target) and target not in apart:
            del table[target]
    with open_to_one(), hushed():
        return program.run_decompositions(table)


def _taken_apart(program: Any) -> set[Any]:
    """Return operators that have a translation, but not for these arguments."""
    nodes = program.graph.find_nodes(op="call_function", target=torch.ops.aten.lstm.input)
    return {node.target for node in nodes if is_taken_apart(node.target, node.args)}


def _inputs(program: Any) -> tuple[list[Any], dict[str, Any], dict[str, str]]:
    """Return the nodes of the user's inputs; tensors and names of all other placeholders."""
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
        if spec.target is None:  # the order of effects, such as torch's checks of values
            known[node.name] = None
            continue
        labels[node.name] = spec.target
        held = program.state_dict if spec.target in program.state_dict else program.constants
        known[node.name] = held[spec.target]
    return inputs, known, labels


def _refuse_mutation(program: Any) -> None:
    kinds = torch.export.graph_signature.OutputKind
    for spec in program.graph_signature.output_specs:
        if spec.kind == kinds.TOKEN:
            raise ValueError(f"the module checks values or has other effects as it runs; {WAY_OUT}")
        if spec.kind != kinds.USER_OUTPUT:
            raise ValueError(
                f"the module changes {spec.target!r} as it runs; a network has no state: take that "
                f"out of the module, or call .eval() before exporting it"
            )


def _output_names(program: Any, taken: set[str]) -> list[str]:
    """Name outputs: "output" and a number, or by the keys of the dict that they are in."""
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
        """Return a node's value as an input or output."""
        fake = node.meta["val"]
        known = [(length(size), self._names.get(str(size))) for size in fake.shape]
        sizes = tuple(name if n is None else n for n, name in known)
        try:
            return Port(name, sizes, dtype_name(fake.dtype))
        except Unsupported as reason:
            raise ValueError(f"input or output {name!r} has an unsupported {reason}") from None
