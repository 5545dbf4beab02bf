"""The backend of torch.compile: what fastconv knows of a graph it runs, the rest torch does."""

from __future__ import annotations

import contextlib
import functools
import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import OperatorSupportBase
from torch.utils import _pytree as pytree

from fastconv import forks
from fastconv.arrays import Array
from fastconv.formats.torch.builder import build, can_take
from fastconv.formats.torch.call import Unsupported, dtype_name, length, numpy_dtype
from fastconv.formats.torch.held import Held, put
from fastconv.network import Network, Port
from fastconv.network.widening import in_float32

_log = logging.getLogger("fastconv.torch")
# A part without any of these is left to torch: it would cost a call, and win nothing.
_WORK = ("conv", "pool", "norm", "linear", "mm", "upsample", "softmax", "silu", "elu", "pad", "col")
# What would run in NumPy here.
_LEFT = (
    "grid_sampler", "_fft", "complex", "polar", "scatter", "index_put", "cdist", "cummax", "cummin",
    "logcumsumexp", "kthvalue", "median", "bucketize", "searchsorted", "aten.unfold.",
    "bilinear.default", "aten.dot.", "aten.mv.", "diagonal",
)  # fmt: skip
# Products of two activations, for which torch's kernels are as fast, need less memory, and keep to
# torch's threads. Those of 16-bit floats are not left to torch: each edge of a part casts, which
# takes longer, and its float16 is slow.
_PRODUCTS = ("scaled_dot_product", "bmm")
_NARROW = (torch.float16, torch.bfloat16)

_KEPT = (
    *(getattr(torch.ops.aten, f"upsample_nearest{n}d").vec for n in (1, 2, 3)),
    torch.ops.aten.upsample_linear1d.vec,
    torch.ops.aten.upsample_bilinear2d.vec,
    torch.ops.aten.upsample_bicubic2d.vec,
    torch.ops.aten.upsample_trilinear3d.vec,
    torch.ops.aten.instance_norm.default,
)


def compile_graph(module: Any, example_inputs: Sequence[Any], **_: Any) -> Callable[..., Any]:
    """Compile a graph for ``torch.compile(module, backend="fastconv")``.

    Weights are copied and packed when a part first runs, and again when their versions have
    changed, as optimisers and ``load_state_dict`` change them. (What writes past torch, through
    ``.data`` or an array over the same memory, goes unseen.) Those that change at almost every
    call are packed at every call. Other tensors go in and out without a copy.

    With gradients enabled and asked for, all stays with torch: run under ``torch.no_grad()`` or
    ``torch.inference_mode()``. So do single calls that fastconv has no translation for, dtypes
    that it does not take, and tensors that are not in the CPU's memory.
    """
    from torch._dynamo.backends.common import aot_autograd

    held = [*module.parameters(), *(v for v in example_inputs if isinstance(v, torch.Tensor))]
    if torch.is_grad_enabled() and any(value.requires_grad for value in held):
        eager: Callable[..., Any] = module.forward
        return eager
    with _whole():
        compiled: Callable[..., Any] = aot_autograd(fw_compiler=_compiled)(module, example_inputs)
    return compiled


def _whole() -> Any:
    """Keep torch from taking apart what is one operation here: resizing above all."""
    try:
        from torch._export.utils import _special_op_to_preserve_cia
        from torch.export.exported_program import _override_composite_implicit_decomp
    except ImportError:
        return contextlib.nullcontext()
    return _override_composite_implicit_decomp(dict.fromkeys(_KEPT, _special_op_to_preserve_cia))


def _compiled(module: Any, example_inputs: Sequence[Any]) -> Callable[..., Any]:
    """Compile a graph of ATen calls: parts of it become networks."""
    from functorch.compile import make_boxed_func

    partitioner = CapabilityBasedPartitioner(module, _Support(), allows_single_node_partition=True)
    parts = partitioner.propose_partitions()
    order = {node: place for place, node in enumerate(module.graph.nodes)}
    held = _weights(module)
    for part in parts:
        _trim(part, order, held)
    fused = partitioner.fuse_partitions([p for p in parts if any(map(_is_work, p.nodes))])
    weights = _weights(fused)
    for node in fused.graph.find_nodes(op="call_module"):
        inner = getattr(fused, node.target)
        kept = [place for place, source in enumerate(node.args) if source in weights]
        setattr(fused, node.target, Part(inner, kept))
    fused.recompile()
    run: Callable[..., Any] = make_boxed_func(fused.forward)
    return run


def _weights(module: Any) -> set[Any]:
    """Return the placeholders of parameters and buffers, which stay the same from call to call.

    They are found by their places, which fusing keeps: it makes other nodes in the same order.
    """
    from torch._guards import TracingContext

    context = TracingContext.try_get()
    metadata = getattr(context, "fw_metadata", None)
    places = set(getattr(metadata, "static_input_indices", None) or ())
    placeholders = module.graph.find_nodes(op="placeholder")
    return {node for place, node in enumerate(placeholders) if place in places}


class _Support(OperatorSupportBase):
    """Which calls fastconv takes."""

    def is_node_supported(self, submodules: Any, node: Any) -> bool:
        if node.op != "call_function" or not _is_tensors(node) or not can_take(node):
            return False
        giver = node.args[0] if node.target is operator.getitem else node
        name = str(giver.target)
        if any(word in name for word in _LEFT):
            return False
        if any(word in name for word in _PRODUCTS):
            given = pytree.tree_leaves(giver.meta["val"])
            if not isinstance(given[0], torch.Tensor) or given[0].dtype not in _NARROW:
                return False
        # Parts give tensors, not tuples: all that a call gives must be taken apart inside.
        if isinstance(node.meta["val"], (tuple, list)):
            return all(can_take(user) for user in node.users)
        return True


def _is_tensors(node: Any) -> bool:
    """Return whether a call gives nothing but tensors in the CPU's memory of dtypes taken here."""
    read = [source.meta.get("val") for source in node.all_input_nodes]
    given = pytree.tree_leaves(node.meta.get("val"))
    tensors = [v for v in pytree.tree_leaves(read) + given if isinstance(v, torch.Tensor)]
    try:
        for tensor in tensors:
            dtype_name(tensor.dtype)
            if tensor.device.type != "cpu" or tensor.layout != torch.strided:
                return False
            # Steps over lengths that depend on data: it is not known yet which is the widest.
            if any(not isinstance(s, int) and s.node.hint is None for s in tensor.stride()):
                return False
    except Unsupported:
        return False
    return bool(given) and all(v is None or isinstance(v, torch.Tensor) for v in given)


def _is_work(node: Any) -> bool:
    name = str(node.target)
    return any(word in name for word in _WORK)


def _trim(part: Any, order: Mapping[Any, int], weights: set[Any]) -> None:
    """Leave views at a part's edges to torch, to which they cost nothing.

    Here what comes out of a part is copied to torch's strides, and what goes in to plain rows. So
    no view ends a part, and none begins it whose input is not in plain rows while it does.
    Weights are the exception: what a part holds must come to it as it is.
    """
    nodes = sorted(part.nodes, key=lambda node: order[node])
    for node in reversed(nodes):
        if _is_view(node) and not any(user in part.nodes for user in node.users):
            part.remove_node(node)
    for node in [node for node in nodes if node in part.nodes and _is_view(node)]:
        if not any(read in part.nodes or read in weights for read in node.all_input_nodes):
            given, result = node.args[0].meta["val"], node.meta["val"]
            if not _is_plain(given) and _is_plain(result):
                part.remove_node(node)


def _is_view(node: Any) -> bool:
    if node.target is operator.getitem:
        return _is_view(node.args[0])
    return bool(getattr(node.target, "is_view", False))


def _is_plain(value: Any) -> bool:
    """Return whether a tensor's last dimensions are the narrowest in memory."""
    if not isinstance(value, torch.Tensor):
        return False
    pairs = zip(value.shape, value.stride(), strict=True)
    steps = [_hint(step) for size, step in pairs if not (isinstance(size, int) and size == 1)]
    return steps == sorted(steps, reverse=True)


class Part(torch.nn.Module):
    """A part of a graph as a network, made when it first runs.

    Parameters
    ----------
    module : torch.fx.GraphModule
        The part, for where fastconv refuses what it is given.
    weights : sequence of int
        The places of its inputs that are weights.
    """

    def __init__(self, module: Any, weights: Sequence[int]) -> None:
        super().__init__()
        self._module = module
        self._placeholders = module.graph.find_nodes(op="placeholder")
        self._weights = tuple(weights)
        fakes = [node.meta["val"] for node in self._placeholders]
        self._tensors = [i for i, fake in enumerate(fakes) if isinstance(fake, torch.Tensor)]
        self._numbers = [i for i, fake in enumerate(fakes) if not isinstance(fake, torch.Tensor)]
        self._others = [place for place in self._tensors if place not in self._weights]
        results = next(n for n in module.graph.nodes if n.op == "output").args[0]
        self._single = not isinstance(results, (tuple, list))
        self._results = [results] if self._single else list(results)
        self._layouts = [_layout(node.meta["val"]) for node in self._results]
        self._dtypes = [numpy_dtype(node.meta["val"].dtype) for node in self._results]
        self._held: Held[Network] = Held()
        self._open: dict[Any, Network] = {}
        self._lock = forks.lock()
        self._refused = False

    def forward(self, *inputs: Any) -> Any:
        """Run the network; where fastconv refuses, run the part as torch does."""
        if self._refused:
            return self._module(*inputs)
        try:
            return self._run(inputs)
        except (TypeError, ValueError) as error:
            _log.info("left to torch: %s", error)
            self._refused = True
            return self._module(*inputs)

    def _run(self, inputs: Sequence[Any]) -> Any:
        network, tensors = self._network(inputs)
        arrays = [_to_array(value) for value in tensors]
        given = network(*arrays)
        results = given if isinstance(given, tuple) else (given,)
        tensors = []
        for place, array in enumerate(results):
            wanted = self._dtypes[place]
            if array.dtype != wanted:
                raise TypeError(f"result {place} is {array.dtype}, where torch gives {wanted}")
            # What torch allocates must not be in an input, or in another result.
            others = (*arrays, *results[:place])
            shared = any(np.may_share_memory(array, other) for other in others)
            fresh = array.copy() if shared or not array.flags.writeable else array
            tensors.append(_laid_out(_to_tensor(fresh), self._layouts[place]))
        return tensors[0] if self._single else tuple(tensors)

    def _network(self, inputs: Sequence[Any]) -> tuple[Network, list[Any]]:
        """Return the network for the sizes given as numbers, and the tensors that it takes.

        It holds the weights of now; where they change at almost every call, it takes them too.
        """
        numbers = tuple(inputs[place] for place in self._numbers)
        weights = [inputs[place] for place in self._weights]
        with self._lock:
            if weights:
                closed = functools.partial(self._built, inputs, self._weights)
                network = self._held.get(weights, numbers, closed)
                if network is not None:
                    return network, [inputs[place] for place in self._others]
            network = self._open.get(numbers)
            if network is None:
                network = self._built(inputs, ())
                put(self._open, numbers, network)
        return network, [inputs[place] for place in self._tensors]

    def _built(self, inputs: Sequence[Any], weights: Sequence[int]) -> Network:
        """Make the network that holds the inputs at some places."""
        known = {
            node.name: value
            for place, (node, value) in enumerate(zip(self._placeholders, inputs, strict=True))
            if place in weights or not isinstance(value, torch.Tensor)
        }
        names = [f"output{place}" for place in range(len(self._results))]
        with torch.no_grad(), torch.utils._python_dispatch._disable_current_modes():
            graph = build(self._module.graph, known, {}, names, "compiled", _port)
        return Network.from_graph(in_float32(graph))


def _port(node: Any, name: str) -> Port:
    fake = node.meta["val"]
    return Port(name, tuple(length(size) for size in fake.shape), dtype_name(fake.dtype))


def _to_array(tensor: Any) -> Array:
    """See a tensor as an array, in the same memory."""
    if tensor.dtype != torch.bfloat16:
        return np.asarray(tensor.numpy(force=True))
    plain = tensor.view(torch.int16).numpy(force=True)
    return np.asarray(plain).view(numpy_dtype(torch.bfloat16))


def _to_tensor(array: Array) -> Any:
    """See an array as a tensor, in the same memory."""
    # NumPy's own dtypes have kinds of their own; to ask for a name takes microseconds.
    if array.dtype.kind != "V":
        return torch.from_numpy(np.asarray(array))
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


Layout = tuple[str, tuple[int, ...]]


def _layout(fake: Any) -> Layout:
    """Return a torch result's layout: strides; of open sizes, dimensions from wide to narrow."""
    if all(isinstance(step, int) for step in fake.stride()):
        return "strides", tuple(fake.stride())
    steps = [_hint(step) for step in fake.stride()]
    return "order", tuple(sorted(range(len(steps)), key=lambda axis: (-steps[axis], axis)))


def _hint(step: Any) -> int:
    return step if isinstance(step, int) else int(step.node.hint)


def _laid_out(tensor: Any, layout: Layout) -> Any:
    """Lay a result out as torch expects it, who may take views of it by its strides."""
    kind, given = layout
    if kind == "order":
        turned = tensor.permute(given)
        back = [given.index(axis) for axis in range(len(given))]
        return tensor if turned.is_contiguous() else turned.contiguous().permute(back)
    columns = list(zip(tensor.shape, tensor.stride(), given, strict=True))
    if all(size < 2 or step == wanted for size, step, wanted in columns):
        return tensor
    if any(size > 1 and wanted == 0 for size, _, wanted in columns):
        return tensor
    return torch.empty_strided(tensor.shape, given, dtype=tensor.dtype).copy_(tensor)
