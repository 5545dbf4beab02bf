"""Whole networks: graphs, traces on shapes alone, summaries, explanations."""

from fastconv.network.explanation import explain
from fastconv.network.graph import Graph, Node, Port
from fastconv.network.network import Network, Overridable, compile_module
from fastconv.network.summary import Summary, summarise
from fastconv.network.timed import TimedSpan

__all__ = [
    "Graph",
    "Network",
    "Node",
    "Overridable",
    "Port",
    "Summary",
    "TimedSpan",
    "compile_module",
    "explain",
    "summarise",
]
