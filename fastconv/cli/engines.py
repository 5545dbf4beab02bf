"""Engines that compute a model's outputs, or inner values of it: fastconv and others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fastconv.network import Graph, Network, Port
from fastconv.network.network import GraphFunction

Feeds = Mapping[str, Any]


class Engine(Protocol):
    """What runs a model."""

    name: str

    def run(self, names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        """Return the values named, which nodes of the main graph give; None: the outputs.

        Raises
        ------
        ValueError, TypeError
            Where it cannot run the model.
        """


class Fastconv:
    """fastconv itself."""

    name = "fastconv"

    def __init__(self, network: Network) -> None:
        self._network = network

    def run(self, names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        network = self._network if names is None else self._cut(names)
        return network.run(None, feeds)

    def _cut(self, names: Sequence[str]) -> Network:
        """Return the network up to some values, with these as its outputs."""
        function: Any = self._network.function
        assert isinstance(function, GraphFunction)
        graph: Graph = function.graph
        wanted = set(names)
        last = max((i for i, n in enumerate(graph.nodes) if wanted & set(n.outputs)), default=-1)
        ports = tuple(Port(name, (), "", any_rank=True) for name in names)
        cut = dataclasses.replace(graph, outputs=ports, nodes=graph.nodes[: last + 1])
        return Network.from_graph(cut, max_memory=self._network.max_memory)


class Peer:
    """An engine of another package, which reads the model's file."""

    name = ""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._path = path
        self._threads = threads
        self._proto: Any = None

    def run(self, names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        try:
            return self._run(names, feeds)
        except Exception as error:  # packages raise classes of their own
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(f"{self.name} cannot run {self._path}: {lines[0]}") from error

    def _run(self, names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        raise NotImplementedError

    def _cut(self, names: Sequence[str], *, whole: bool) -> Any:
        """Return the model up to some values, with these as its outputs, which have no types.

        ``whole``: with the weights that are stored in other files.
        """
        from fastconv.formats.onnx.reader import import_onnx, inlined

        onnx = import_onnx()
        if self._proto is None:
            proto = onnx.load(str(self._path), load_external_data=whole)
            self._proto = inlined(onnx, proto) if proto.functions else proto
        cut = onnx.ModelProto()
        cut.CopyFrom(self._proto)
        wanted = set(names)
        last = max((i for i, n in enumerate(cut.graph.node) if wanted & set(n.output)), default=-1)
        del cut.graph.node[last + 1 :]
        del cut.graph.output[:]
        cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return cut


class OnnxRuntime(Peer):
    """onnxruntime on the CPU, with its own default options."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int | None = None) -> None:
        super().__init__(path, threads)
        self._package = _onnxruntime()

    def _run(self, names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        options = self._package.SessionOptions()
        # What goes wrong is raised; its warnings say nothing of the comparison.
        options.log_severity_level = 4
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        source: Any = str(self._path)
        if names is not None:
            source = self._cut(names, whole=False).SerializeToString()
            folder = str(self._path.resolve().parent)
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", folder
            )
        session = self._package.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        return list(session.run(None, dict(feeds)))


class Reference(Peer):
    """onnx's reference evaluator: right, and slow."""

    name = "onnx's reference"

    def _run(self, names: Sequence[str] | None, feeds: Feeds) -> list[Any]:
        import numpy as np
        from onnx.reference import ReferenceEvaluator

        source = str(self._path) if names is None else self._cut(names, whole=True)
        with np.errstate(all="ignore"):
            return list(ReferenceEvaluator(source).run(None, dict(feeds)))


PEERS: Mapping[str, type[Peer]] = {"onnxruntime": OnnxRuntime, "reference": Reference}


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(
            "comparing with onnxruntime needs that package: pip install onnxruntime. Or compare "
            "with onnx's own reference evaluator: --with reference"
        ) from None
    if onnxruntime.InferenceSession.__module__.startswith("fastconv."):
        raise ValueError("fastconv is installed in onnxruntime's place: it would meet itself")
    return onnxruntime
