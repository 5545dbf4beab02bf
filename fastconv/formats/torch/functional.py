"""In-place calls of a traced graph as calls that give new values, where that is the same."""

from __future__ import annotations

from typing import Any

import torch

from fastconv.formats.torch.builder import is_translated, live_nodes
from fastconv.problem.activation import BY_TORCH

# Operators whose result never shares memory with what they read.
_FRESH = frozenset(
    [
        *BY_TORCH,
        "add",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "batch_norm",
        "cat",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "div",
        "elu",
        "gelu",
        "group_norm",
        "hardtanh",
        "layer_norm",
        "leaky_relu",
        "linear",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "mean",
        "mul",
        "sub",
        "sym_size",
        "upsample_bilinear2d",
        "upsample_nearest2d",
    ]
)


def made_functional(graph: Any) -> bool:
    """Rewrite in-place calls here, if all live calls are translated and none can have an alias.

    Gives False, with the graph half done, where torch must see to it by decomposition.
    """
    results = next(node for node in graph.nodes if node.op == "output").all_input_nodes
    live = live_nodes(graph, results)
    calls = [node for node in graph.nodes if node.op == "call_function"]
    changing = [node for node in calls if _changes(node)]
    plain = [node for node in calls if node in live and node not in changing]
    if not all(is_translated(n.target) for n in plain if hasattr(n.target, "_schema")):
        return False
    return all(_replaced(graph, node) for node in changing)


def _changes(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _replaced(graph: Any, node: Any) -> bool:
    """Put a call that gives a new value in the place of an in-place call."""
    name, changed = node.target._schema.name.partition("::")[2], node.args[0]
    twin = getattr(torch.ops.aten, name.removesuffix("_"), None)
    overload = getattr(twin, node.target._overloadname, None)
    if not name.endswith("_") or overload is None or not is_translated(overload):
        return False
    others = [user for user in changed.users if user is not node]
    if not all(_is_fresh(other) for other in (changed, *others)):
        return False
    with graph.inserting_before(node):
        new = graph.call_function(overload, node.args, node.kwargs)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    changed.replace_all_uses_with(new, lambda user: user > new)
    graph.erase_node(node)
    return True


def _is_fresh(node: Any) -> bool:
    if node.op != "call_function" or not hasattr(node.target, "_schema"):
        return False
    name: str = node.target._schema.name.partition("::")[2]
    return name in _FRESH or (name.endswith("_") and name.removesuffix("_") in _FRESH)
