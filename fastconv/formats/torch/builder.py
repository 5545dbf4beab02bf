"""An fx graph of ATen calls turned into a graph of ours, call by call."""

from __future__ import annotations

import collections
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from fastconv.dispatch import Parameter
from fastconv.formats.torch import (
    arithmetic,
    attention,
    layers,
    ordering,
    placing,
    recurrent,
    shaping,
    sizes,
    spectral,
    windows,
)
from fastconv.formats.torch.call import TRANSLATIONS, Call, Unsupported, dtype_name, is_node
from fastconv.network import Graph, Node, Port
from fastconv.nn.foreign import to_array

WAY_OUT = (
    "write that part in other torch functions, leave it to torch in front of or behind the "
    'network, or run the module by torch.compile(module, backend="fastconv"), which leaves to '
    "torch what has no translation"
)
# Their import fills the table.
FAMILIES = (
    arithmetic, attention, layers, ordering, placing, recurrent, shaping, spectral, windows,
)  # fmt: skip


class Builder:
    """Graph nodes, constants and names, as calls are taken in one after another.

    What depends on no input (weights, buffers, and what is computed from them) is kept as
    tensors, computed by torch itself, and becomes a constant where a node reads it.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Parameter] = {}
        self.names: dict[Any, str] = {}
        self.parts: dict[Any, dict[int, str]] = {}
        self.known: dict[Any, Any] = {}
        self.labels: dict[Any, str] = {}
        self.taken: set[str] = set()
        self.given: set[str] = set()
        self.live: set[Any] = set()
        self.kept: dict[Any, Parameter] = {}

    # Values and their names.

    def unique(self, wanted: str) -> str:
        """Return a name that nothing else bears."""
        name, count = wanted, 0
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name

    def keep(self, name: str, array: Any) -> str:
        """Keep a constant, and give its name."""
        name = self.unique(name)
        self.constants[name] = Parameter(array)
        return name

    def name_of(self, value: Any) -> str:
        """Return the graph's name of a value."""
        if not is_node(value):
            return self.keep("constant", np.asarray(value))
        if value not in self.names:
            if value not in self.known:
                raise Unsupported(f"it reads {value.name}, which is not a tensor")
            tensor = self.known[value]
            if not isinstance(tensor, torch.Tensor):
                raise Unsupported(f"it reads {value.name}, which is not a tensor")
            dtype_name(tensor.dtype)
            self.names[value] = self._weight(tensor, self.labels.get(value), value.name)
        return self.names[value]

    def _weight(self, tensor: Any, label: str | None, name: str) -> str:
        """Keep a tensor; one with a label is shared with other graphs of the module."""
        if label is None:
            return self.keep(name, to_array(tensor, name))
        key = (label, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in self.kept:
            self.kept[key] = Parameter(to_array(tensor, label))
        unique = self.unique(label)
        self.constants[unique] = self.kept[key]
        return unique

    def has(self, value: Any) -> bool:
        """Return whether a node's value has a name, or would be given one."""
        return value in self.names or value in self.known

    def fake_of(self, value: Any) -> Any:
        """Return what is known of a value: a tensor without data, or a number."""
        return value.meta["val"] if is_node(value) else value

    def is_open(self, value: Any) -> bool:
        """Return whether anything in an argument is known only at run time."""
        return any(is_node(leaf) and leaf not in self.known for leaf in pytree.tree_leaves(value))

    def settled(self, value: Any) -> Any:
        """Return an argument with known values in the place of nodes."""
        return pytree.tree_map(lambda leaf: self.known[leaf] if is_node(leaf) else leaf, value)

    # Answers.

    def step(
        self, source: Any, op: str, inputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> str:
        """Add a node whose output has a name of its own."""
        output = self.unique(f"{source.name}:{op}")
        self.nodes.append(Node(op, tuple(inputs), (output,), dict(attributes), _layer(source)))
        return output

    def steps(
        self, source: Any, op: str, inputs: Sequence[str], count: int, attributes: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Add a node of several outputs, each with a name of its own."""
        outputs = tuple(self.unique(f"{source.name}:{op}:{place}") for place in range(count))
        self.nodes.append(Node(op, tuple(inputs), outputs, dict(attributes), _layer(source)))
        return outputs

    def answer(
        self, source: Any, op: str, inputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> None:
        """Add the node that gives a call's value."""
        output = self.names[source] = self.unique(source.name)
        self.nodes.append(Node(op, tuple(inputs), (output,), dict(attributes), _layer(source)))

    def same(self, source: Any, name: str) -> None:
        """Let a call's value be an existing one."""
        self.names[source] = name

    def several(
        self, source: Any, op: str, inputs: Sequence[str], count: int, attributes: Mapping[str, Any]
    ) -> None:
        """Add the node that gives a call's values."""
        outputs = tuple(self.unique(f"{source.name}:{place}") for place in range(count))
        self.parts[source] = dict(enumerate(outputs))
        self.nodes.append(Node(op, tuple(inputs), outputs, dict(attributes), _layer(source)))

    def sizes(self, source: Any, values: Sequence[Any]) -> str:
        """Return the name of an int64 array of numbers, nodes' values and named values."""
        open_ = [v for v in values if isinstance(v, str) or self.is_open(v)]
        known = [None if isinstance(v, str) or self.is_open(v) else v for v in values]
        template = [None if v is None else int(self.settled(v)) for v in known]
        if not open_:
            return self.keep(f"{source.name}:sizes", np.array(template, np.int64))
        inputs = [v if isinstance(v, str) else self.name_of(v) for v in open_]
        return self.step(source, "stack_sizes", inputs, {"template": tuple(template)})

    # Taking calls in.

    def take(self, source: Any) -> None:
        """Take one call in; Unsupported, with nothing changed, where there is no translation."""
        if source.target is operator.getitem and self._take_part(source):
            return
        arguments = (source.args, source.kwargs)
        if not self.is_open(arguments) and not _is_random(source.target):
            args, kwargs = self.settled(arguments)
            with torch.no_grad():
                self.known[source] = source.target(*args, **kwargs)
            return
        count = len(self.nodes)
        try:
            self._translate(source)
        except Unsupported:
            del self.nodes[count:]
            self.names.pop(source, None)
            raise

    def _take_part(self, source: Any) -> bool:
        of, place = source.args
        if of in self.known:
            self.known[source] = self.known[of][place]
            return True
        if of in self.parts:
            try:
                self.names[source] = self.parts[of][place]
            except KeyError:
                raise Unsupported(f"output {place} of {of.target}") from None
            return True
        return False

    def _translate(self, source: Any) -> None:
        if not hasattr(source.target, "_schema"):
            return sizes.translate(source, self)
        call = call_of(source, self)
        if call.op not in TRANSLATIONS:
            raise Unsupported("no translation")
        if call.op != "sym_size":
            for fake in pytree.tree_leaves(source.meta.get("val")):
                if isinstance(fake, torch.Tensor):
                    dtype_name(fake.dtype)
        TRANSLATIONS[call.op](call)
        return None


def call_of(source: Any, builder: Builder) -> Call:
    """Return an fx node of an ATen operator as a call, defaults filled in."""
    schema = source.target._schema
    arguments: dict[str, Any] = {}
    for place, argument in enumerate(schema.arguments):
        if place < len(source.args) and not argument.kwarg_only:
            arguments[argument.name] = source.args[place]
        elif argument.name in source.kwargs:
            arguments[argument.name] = source.kwargs[argument.name]
        elif argument.has_default_value():
            arguments[argument.name] = argument.default_value
    namespace, _, op = schema.name.partition("::")
    if namespace not in ("aten", "prims"):
        raise Unsupported("no translation")
    return Call(op, schema.overload_name, source, arguments, builder)


def is_translated(target: Any) -> bool:
    """Return whether an ATen operator has a translation (which may yet refuse its arguments)."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return False
    namespace, _, op = schema.name.partition("::")
    return namespace == "aten" and op in TRANSLATIONS


def can_take(source: Any) -> bool:
    """Return whether a call can be taken in, whatever gives what it reads."""
    builder = Builder()
    builder.live = {source, *source.users}
    for read in source.all_input_nodes:
        builder.names[read] = read.name
        if isinstance(read.meta.get("val"), (tuple, list)):
            builder.live.update(read.users)
            if read.op != "call_function" or not _gives(builder, read):
                return False
    try:
        builder.take(source)
    except Unsupported:
        return False
    return source in builder.names or source in builder.parts


def _gives(builder: Builder, source: Any) -> bool:
    """Take in the call of several results that a getitem reads."""
    for read in source.all_input_nodes:
        builder.names[read] = read.name
    try:
        builder.take(source)
    except Unsupported:
        return False
    return source in builder.parts


def build(
    graph: Any,
    known: Mapping[str, Any],
    labels: Mapping[str, str],
    output_names: Sequence[str],
    name: str,
    ports: Callable[[Any, str], Port],
    conditions: Sequence[Any] = (),
    kept: dict[Any, Parameter] | None = None,
) -> Graph:
    """Return an fx graph as a graph.

    Parameters
    ----------
    graph : torch.fx.Graph
        Of ATen calls without side effects.
    known : mapping of placeholder names to tensors
        Weights and whatever else is not an input.
    labels : mapping of placeholder names to names
        Under which to keep those.
    output_names : sequence of str
        One for each tensor that the graph gives, in order.
    ports : callable
        Gives the port of an fx node's value, under a name.
    conditions : sequence
        What the inputs' sizes must satisfy.
    kept : dict, optional
        Weights of other graphs of the same module, to be shared; those of this one are added.

    Raises
    ------
    ValueError
        That names all calls that are not supported, at once.
    """
    builder = Builder()
    if kept is not None:
        builder.kept = kept
    builder.taken.update(output_names)
    inputs: list[Port] = []
    refused: list[str] = []
    results = pytree.tree_leaves(next(node for node in graph.nodes if node.op == "output").args)
    live = builder.live = live_nodes(graph, results)
    for source in graph.nodes:
        if source.op == "placeholder":
            if source.name in known:
                builder.known[source] = known[source.name]
                builder.labels[source] = labels.get(source.name, source.name)
            else:
                builder.names[source] = builder.unique(source.name)
                inputs.append(ports(source, builder.names[source]))
        elif source not in live:
            continue
        elif source.op == "get_attr":
            builder.known[source] = _attribute(graph.owning_module, source.target)
        elif source.op == "call_function":
            try:
                builder.take(source)
            except Unsupported as reason:
                refused.append(f"{source.target} (node {_layer(source)}): {reason}")
                # What reads it is looked at all the same: all refusals are told at once.
                builder.names[source] = builder.unique(source.name)
                builder.parts[source] = collections.defaultdict(lambda: "refused")
    if refused:
        raise ValueError(f"unsupported operators: {'; '.join(refused)}; {WAY_OUT}")
    if conditions and inputs:
        _require(builder, inputs, conditions)
    outputs = []
    for value, wanted in zip(results, output_names, strict=True):
        _give(builder, value, wanted)
        outputs.append(ports(value, wanted))
    nodes = _needed(builder.nodes, output_names)
    read = {name for node in nodes for name in node.inputs}
    constants = {name: value for name, value in builder.constants.items() if name in read}
    return Graph(tuple(inputs), tuple(outputs), tuple(nodes), constants, name)


def _require(builder: Builder, inputs: Sequence[Port], conditions: Sequence[Any]) -> None:
    """Put a node before all others that looks at the inputs' sizes; the first input passes it."""
    first = inputs[0].name
    checked = builder.unique(f"{first}:checked")
    for place, node in enumerate(builder.nodes):
        taken = tuple(checked if name == first else name for name in node.inputs)
        builder.nodes[place] = Node(node.op, taken, node.outputs, node.attributes, node.name)
    names = tuple(port.name for port in inputs)
    attributes = {"conditions": tuple(conditions)}
    builder.nodes.insert(0, Node("require_sizes", names, (checked,), attributes, "sizes"))
    for source, name in builder.names.items():
        if name == first:
            builder.names[source] = checked


def _give(builder: Builder, value: Any, wanted: str) -> None:
    """Assign a value an output's name, without a node of its own where one has just made it."""
    if not is_node(value):
        raise ValueError(f"output {wanted!r} is {value!r}, not a tensor; take it out of the result")
    name = builder.name_of(value)
    made = any(name in node.outputs for node in builder.nodes if node.op != "require_sizes")
    if made and name not in builder.given:
        _rename(builder, name, wanted)
    else:
        builder.nodes.append(Node("identity", (name,), (wanted,), {}, wanted))
    builder.given.add(wanted)


def _rename(builder: Builder, old: str, new: str) -> None:
    def swap(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new if name == old else name for name in names)

    for place, node in enumerate(builder.nodes):
        if old in node.inputs or old in node.outputs:
            builder.nodes[place] = Node(
                node.op, swap(node.inputs), swap(node.outputs), node.attributes, node.name
            )
    for source, name in builder.names.items():
        if name == old:
            builder.names[source] = new


def live_nodes(graph: Any, results: Sequence[Any]) -> set[Any]:
    """Return the nodes that the results depend on; checks of what was traced are none of them."""
    live = {value for value in results if is_node(value)}
    for node in reversed(graph.nodes):
        if node in live:
            live.update(node.all_input_nodes)
    return live


def by_batch(graph: Graph, single: Graph, places: Sequence[int]) -> Graph:
    """Join two graphs of one module, the second of which runs for a batch of 1.

    ``places`` are those of the inputs whose first axis is the batch.
    """
    names = [port.name for port in graph.inputs]
    taken = {*names, *(port.name for port in graph.outputs)}
    prefix = "batch"
    while any(name.startswith(f"{prefix}:") for name in taken):
        prefix += "_"
    one = f"{prefix}:one"
    nodes: list[Node] = []
    found = ""
    for place in places:
        size, single_here = f"{prefix}:size{place}", f"{prefix}:single{place}"
        nodes.append(Node("size_of", (names[place],), (size,), {"axis": 0}, "batch"))
        nodes.append(Node("equal", (size, one), (single_here,), {}, "batch"))
        both = f"{prefix}:all{place}"
        if found:
            nodes.append(Node("logical_and", (found, single_here), (both,), {}, "batch"))
        found = both if found else single_here
    attributes = {"then": single, "otherwise": graph, "split": len(names)}
    results = tuple(port.name for port in graph.outputs)
    nodes.append(Node("branch", (found, *names, *names), results, attributes, "batch"))
    outputs = [_either(*pair) for pair in zip(graph.outputs, single.outputs, strict=True)]
    constants = {one: Parameter(np.array(1, np.int64))}
    return Graph(graph.inputs, tuple(outputs), tuple(nodes), constants, graph.name)


def _either(port: Port, single: Port) -> Port:
    """Return the port of a value that has one shape or the other."""
    if len(port.shape) != len(single.shape):
        return Port(port.name, (), port.dtype, any_rank=True)
    pairs = zip(port.shape, single.shape, strict=True)
    sizes = (a if a == b or (i == 0 and b == 1) else None for i, (a, b) in enumerate(pairs))
    return Port(port.name, tuple(sizes), port.dtype)


def _needed(nodes: Sequence[Node], wanted: Sequence[str]) -> list[Node]:
    """Leave out nodes that nothing reads, but for the check of sizes."""
    read, kept = set(wanted), []
    for node in reversed(nodes):
        if node.op == "require_sizes" or read.intersection(node.outputs):
            read.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _attribute(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module


def _is_random(target: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


def _layer(source: Any) -> str:
    """Return the dotted name of the module that made a call, or the call's own name."""
    stack = source.meta.get("nn_module_stack") or {}
    paths: list[str] = [
        path for path, _ in stack.values() if path and not path.startswith("_empty")
    ]
    return paths[-1] if paths else source.name
