"""ONNX models behind onnxruntime's calling convention: swapping the import is the whole port."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastconv import settings
from fastconv.formats.onnx.reader import network_of, parse
from fastconv.network import Port
from fastconv.problem.values import is_sequence, items_of

_PROVIDER = "CPUExecutionProvider"
# ONNX's names of element types that differ from NumPy's.
_NAMES = {"float32": "float", "float64": "double", "object": "string"}


class GraphOptimizationLevel(enum.IntEnum):
    """onnxruntime's levels; here networks are always rewritten, and none of them changes that."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(enum.IntEnum):
    """onnxruntime's modes; here nodes run one after the other."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


@dataclasses.dataclass
class SessionOptions:
    """onnxruntime's options of a session, by its names.

    ``intra_op_num_threads`` is heeded (0: fastconv's own setting); the others are taken, and
    change nothing.
    """

    intra_op_num_threads: int = 0
    inter_op_num_threads: int = 0
    graph_optimization_level: int = GraphOptimizationLevel.ORT_ENABLE_ALL
    execution_mode: int = ExecutionMode.ORT_SEQUENTIAL
    execution_order: int = 0
    enable_cpu_mem_arena: bool = True
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    enable_profiling: bool = False
    log_severity_level: int = 2
    log_verbosity_level: int = 0
    logid: str = ""
    optimized_model_filepath: str = ""
    profile_file_prefix: str = ""
    use_deterministic_compute: bool = False
    _entries: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry, which changes nothing."""
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """Give an entry that was added."""
        if key not in self._entries:
            raise ValueError(f"there is no session configuration entry {key!r}")
        return self._entries[key]


@dataclasses.dataclass
class RunOptions:
    """onnxruntime's options of a run: taken, and change nothing."""

    log_severity_level: int = 2
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    terminate: bool = False


@dataclasses.dataclass(frozen=True)
class NodeArg:
    """An input or output: its name, its shape (open sizes by name or None), its type."""

    name: str
    shape: list[int | str | None]
    type: str


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What a model tells of itself."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]


class InferenceSession:
    """A model ready to run, with the methods of ``onnxruntime.InferenceSession``.

    Parameters
    ----------
    path_or_bytes : str, path, bytes or onnx.ModelProto
        An ONNX model of any opset.
    sess_options : SessionOptions, optional
        Or any object with its attributes, onnxruntime's own too.
    providers : sequence, optional
        What the model may run on, for onnxruntime; here always the CPU.
    provider_options : sequence, optional
        Taken, and changes nothing.
    max_memory, in_memory : optional
        As in `fastconv.load`.

    Raises
    ------
    ValueError, TypeError
        As `fastconv.load` does.
    """

    def __init__(
        self,
        path_or_bytes: Any,
        sess_options: Any = None,
        providers: Sequence[Any] | None = None,
        provider_options: Sequence[Any] | None = None,
        *,
        max_memory: int | None = None,
        in_memory: bool = False,
        **kwargs: Any,
    ) -> None:
        self._options = SessionOptions() if sess_options is None else sess_options
        threads = getattr(self._options, "intra_op_num_threads", 0)
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
            raise ValueError(f"intra_op_num_threads must not be negative, but got {threads!r}")
        self._threads = threads
        if isinstance(path_or_bytes, (str, os.PathLike)) and not os.path.isfile(path_or_bytes):
            raise ValueError(f"there is no file {os.fspath(path_or_bytes)}")
        parsed = parse(path_or_bytes, in_memory=in_memory)
        self.network = network_of(parsed, max_memory=max_memory)
        model = parsed.proto
        self._meta = ModelMetadata(
            producer_name=model.producer_name,
            graph_name=model.graph.name,
            domain=model.domain,
            description=model.doc_string,
            graph_description=model.graph.doc_string,
            version=model.model_version,
            custom_metadata_map={entry.key: entry.value for entry in model.metadata_props},
        )

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: Any = None,
    ) -> list[Any]:
        """Run the model.

        Parameters
        ----------
        output_names : sequence of str, optional
            The outputs to give, in that order; all of them where None or empty.
        input_feed : mapping
            Arrays (lists for sequences) by the inputs' names.
        run_options : RunOptions, optional
            Taken, and changes nothing.

        Returns
        -------
        list of arrays

        Raises
        ------
        ValueError
            For inputs that are missing, unknown or of another shape, and unknown outputs.
        TypeError
            For inputs of another dtype.
        """
        with settings.threads(self._threads) if self._threads else contextlib.nullcontext():
            return self.network.run(_named(output_names), input_feed)

    def get_inputs(self) -> list[NodeArg]:
        """Describe the inputs, in order."""
        return [_described(port) for port in self.network.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Describe the outputs, in order."""
        return [_described(port) for port in self.network.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Describe the weights that a run may replace: initializers that are inputs too."""
        overridable = self.network.overridable
        return [] if overridable is None else [_described(port) for port in overridable.ports]

    def get_modelmeta(self) -> ModelMetadata:
        """Give what the model tells of itself."""
        return self._meta

    def get_providers(self) -> list[str]:
        """Give what the model runs on."""
        return [_PROVIDER]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Give the options of what the model runs on: none."""
        return {_PROVIDER: {}}

    def get_session_options(self) -> Any:
        """Give the options that the session was made with."""
        return self._options


def get_available_providers() -> list[str]:
    """Give what models can run on."""
    return [_PROVIDER]


def get_device() -> str:
    """Give the kind of device that models run on."""
    return "CPU"


def _named(output_names: Any) -> Any:
    """Give the names of some outputs as a list; None and no names at all are those of all."""
    if not is_sequence(output_names):
        return output_names
    return items_of(output_names, "output_names") or None


def _described(port: Port) -> NodeArg:
    if port.kind:
        return NodeArg(port.name, [], port.kind)
    element = _NAMES.get(port.dtype, port.dtype.replace("float8_", "float8"))
    return NodeArg(port.name, list(port.shape), f"tensor({element})")
