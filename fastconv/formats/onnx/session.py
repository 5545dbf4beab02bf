"""ONNX models behind onnxruntime's calling convention: swapping the import is the whole port."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastconv import settings
from fastconv.device_arrays import as_device_array
from fastconv.formats.onnx.errors import (
    Fail,
    FailedType,
    InvalidArgument,
    InvalidType,
    NoSuchFile,
)
from fastconv.formats.onnx.reader import network_of, parse
from fastconv.formats.onnx.runtime.binding import IOBinding
from fastconv.formats.onnx.runtime.options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    RunOptions,
    SessionOptions,
)
from fastconv.formats.onnx.runtime.preparing import changed, changes_of, write_model
from fastconv.formats.onnx.runtime.profiling import Recorder
from fastconv.formats.onnx.runtime.providers import (
    CPU,
    check_and_normalize_provider_args,
    get_all_providers,
    get_available_providers,
)
from fastconv.formats.onnx.runtime.values import OrtValue, held, type_of
from fastconv.network import Port
from fastconv.problem.values import is_sequence, items_of, shown

__all__ = [
    "ExecutionMode", "ExecutionOrder", "GraphOptimizationLevel", "InferenceSession",
    "ModelMetadata", "NodeArg", "RunOptions", "SessionOptions",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NodeArg:
    """An input or output: its name, its type, its shape (open sizes by name or None)."""

    name: str
    type: str
    shape: list[int | str | None]


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
    providers : sequence of str or (str, dict), optional
        What the model may run on, for onnxruntime. Here that is the CPU; other providers are warned
        about, as onnxruntime warns about those that it does not have.
    provider_options : sequence of dict, optional
        One for each provider; they change nothing.
    max_memory, in_memory : optional
        As in `fastconv.load`.

    Attributes
    ----------
    network : fastconv.Network
        What runs: `explain`, `profile`, `summary` and the rest are available.

    Raises
    ------
    ValueError, TypeError
        As `fastconv.load` does, by onnxruntime's names where it has some (``NoSuchFile``,
        ``InvalidProtobuf``, ``InvalidGraph``, ``NotImplemented``).
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
        began = time.perf_counter()
        self._options = SessionOptions() if sess_options is None else sess_options
        threads = getattr(self._options, "intra_op_num_threads", 0)
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
            raise ValueError(f"intra_op_num_threads must not be negative, but got {threads!r}")
        self._threads = threads
        self._provider_options: dict[str, dict[str, str]] = {}
        asked = providers or [*getattr(self._options, "_providers", ())] or None
        try:
            self._set_providers(asked, provider_options)
        except ValueError as error:
            # onnxruntime falls back to the CPU too.
            warnings.warn(f"{error}; falling back to {CPU}", UserWarning, stacklevel=2)
            self._set_providers(None, None)
        if isinstance(path_or_bytes, (str, os.PathLike)) and not Path(path_or_bytes).is_file():
            raise NoSuchFile(f"there is no file {os.fspath(path_or_bytes)}")
        parsed = parse(path_or_bytes, in_memory=in_memory)
        parsed = changed(parsed, path_or_bytes, changes_of(self._options))
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
        overridable = self.network.overridable
        self._overridable = () if overridable is None else tuple(overridable.ports)
        self._ports = {port.name: port for port in (*self.network.inputs, *self._overridable)}
        if getattr(self._options, "optimized_model_filepath", ""):
            write_model(path_or_bytes, self._options)
        self._recorder: Recorder | None = None
        if getattr(self._options, "enable_profiling", False):
            self._recorder = Recorder(getattr(self._options, "profile_file_prefix", ""))
            self._recorder.began_ns = int(began * 1e9)
            done = time.perf_counter()
            self._recorder.add("Session", "session_initialization", began, done, {})

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
            The outputs to return, in that order; all of them where None or empty.
        input_feed : mapping
            Arrays, `OrtValue`s or lists of numbers (of arrays for sequences) by the inputs' names.
            Lists become arrays of the input's dtype.
        run_options : RunOptions, optional

        Returns
        -------
        list of arrays

        Raises
        ------
        ValueError
            For inputs that are missing, unknown or of another shape, and unknown outputs
            (``InvalidArgument``); for nodes that fail and for ``run_options.terminate`` (``Fail``).
        TypeError
            For inputs of another dtype.
        """
        if getattr(run_options, "terminate", False):
            raise Fail("the run ends before it begins: terminate is set in its options")
        feeds: Any = input_feed
        if isinstance(input_feed, Mapping):
            feeds = {name: self._fed(name, value) for name, value in input_feed.items()}
        names = _named(output_names)
        try:
            with settings.threads(self._threads) if self._threads else contextlib.nullcontext():
                if self._recorder is not None:
                    return self._recorded(self._recorder, names, feeds)
                return self.network.run(names, feeds)
        except (ValueError, TypeError) as error:
            raise self._error_of(error, names, feeds) from error

    def _recorded(self, recorder: Recorder, names: Any, feeds: Any) -> list[Any]:
        """Run with the times of all operations."""
        run = self.network.run_by_name
        return run(lambda inputs: recorder.run(self.network, inputs), names, feeds)

    def _fed(self, name: str, value: Any) -> Any:
        value = held(value)
        port = self._ports.get(name)
        if type(value) is np.ndarray or port is None or port.kind:
            return value
        return _listed(value, port)

    def _error_of(self, error: Exception, names: Any, feeds: Any) -> Exception:
        """Return an error of a run by onnxruntime's names: in the call, or in a node."""
        if not isinstance(feeds, Mapping) or not (names is None or is_sequence(names)):
            return error

        def check(inputs: tuple[Any, ...]) -> list[Any]:
            self.network.checked(inputs)
            return [None] * len(self.network.outputs)

        try:
            self.network.run_by_name(check, names, feeds)
        except (ValueError, TypeError):
            kinds: tuple[type[Exception], type[Exception]] = (InvalidType, InvalidArgument)
        else:
            kinds = FailedType, Fail
        return kinds[0 if isinstance(error, TypeError) else 1](str(error))

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Any], Any, str], Any],
        user_data: Any,
        run_options: Any = None,
    ) -> None:
        """Run the model in a thread of its own, and return at once.

        Parameters
        ----------
        output_names, input_feed, run_options
            As in `run`.
        callback : callable
            Called in that thread with the outputs, ``user_data`` and "", or where the run
            fails with an empty list, ``user_data`` and the error's words.
        user_data : any
            Handed to the callback.

        Raises
        ------
        ValueError
            For missing inputs; all other errors are the callback's.
        """
        if not callable(callback):
            raise TypeError(f"callback must be callable, but got {callback!r:.80}")
        feeds = _feeds(input_feed, "input_feed")
        missing = [each.name for each in self.get_inputs() if each.name not in feeds]
        if missing:
            raise InvalidArgument(f"inputs {', '.join(missing)} are missing")

        def work() -> None:
            try:
                results, words = self.run(output_names, input_feed, run_options), ""
            except Exception as error:
                results, words = [], str(error) or type(error).__name__
            callback(results, user_data, words)

        threading.Thread(target=work, name="fastconv-run-async", daemon=True).start()

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: Any = None,
    ) -> list[OrtValue]:
        """Run the model on `OrtValue`s; return the outputs as such."""
        for name, value in _feeds(input_dict_ort_values, "input_dict_ort_values").items():
            if not isinstance(value, OrtValue):
                raise TypeError(f"input {name!r} must be an OrtValue, but got {shown(value)}")
        return [OrtValue(v) for v in self.run(output_names, input_dict_ort_values, run_options)]

    def io_binding(self) -> IOBinding:
        """Return a binding of this session's inputs and outputs."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: Any = None) -> None:
        """Run the model on bound inputs; its outputs are kept or written where they are bound."""
        iobinding.run(self, run_options)

    def run_with_ortvaluevector(
        self,
        run_options: Any,
        feed_names: Sequence[str],
        feeds: Sequence[OrtValue],
        fetch_names: Sequence[str],
        fetches: Any,
        fetch_devices: Any,
    ) -> None:
        """Run the model on values in a row; the outputs replace what is in ``fetches``."""
        values = dict(zip(feed_names, feeds, strict=True))
        fetches[:] = self.run_with_ort_values(fetch_names, values, run_options)

    def create_ortvalue_from_shape_and_type(
        self, shape: Sequence[int], element_type: Any, device_type: Any, device_id: int = 0
    ) -> OrtValue:
        """Return an `OrtValue` of zeros."""
        return OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type, device_id)

    def get_inputs(self) -> list[NodeArg]:
        """Describe the inputs, in order."""
        return [_described(port) for port in self.network.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Describe the outputs, in order."""
        return [_described(port) for port in self.network.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Describe the weights that a run may replace: those that are inputs of the model too."""
        return [_described(port) for port in self._overridable]

    def get_modelmeta(self) -> ModelMetadata:
        """Return what the model tells of itself."""
        return self._meta

    def get_providers(self) -> list[str]:
        """Return what the model runs on."""
        return [CPU]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Return the options of what the model runs on."""
        return {CPU: {}}

    @property
    def _providers(self) -> list[str]:
        """What the model runs on, by the name that some programs read."""
        return [CPU]

    def set_providers(
        self, providers: Sequence[Any] | None = None, provider_options: Sequence[Any] | None = None
    ) -> None:
        """Choose what the model runs on: always the CPU, and others are warned about.

        Raises
        ------
        ValueError
            For a name that onnxruntime does not know either.
        """
        for each in providers or ():
            name = each if isinstance(each, str) else each[0]
            if name not in get_all_providers():
                raise InvalidArgument(f"there is no provider {name!r}")
        self._set_providers(providers, provider_options)

    def _set_providers(self, providers: Any, provider_options: Any) -> None:
        check_and_normalize_provider_args(providers, provider_options, get_available_providers())
        self._provider_options = {CPU: {}}

    def enable_fallback(self) -> None:
        """Do nothing: the model is on the CPU already."""

    def disable_fallback(self) -> None:
        """Do nothing: the model is on the CPU already."""

    def get_session_options(self) -> Any:
        """Return the options that the session was made with."""
        return self._options

    def end_profiling(self) -> str:
        """Write the times of all runs to a file, and return its name.

        It is a list of events as chrome://tracing and Perfetto show them: those of category "Node"
        are the operations of each run, with the algorithm that ran. "" where
        ``enable_profiling`` was not set, or profiling has ended.
        """
        return "" if self._recorder is None else self._recorder.finish()

    def get_profiling_start_time_ns(self) -> int:
        """Return when profiling began, by ``time.perf_counter_ns``; 0 where it did not."""
        return 0 if self._recorder is None else self._recorder.began_ns


def _named(output_names: Any) -> Any:
    """Return the names of some outputs as a list; None and no names at all are those of all."""
    if not is_sequence(output_names):
        return output_names
    return items_of(output_names, "output_names") or None


def _feeds(given: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a mapping of input names to values, not {shown(given)}")
    return given


def _listed(value: Any, port: Port) -> Any:
    """Return numbers in lists as an array of an input's dtype, where that changes no value."""
    if not isinstance(value, (list, tuple, bool, int, float)) or as_device_array(value) is not None:
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidArgument(f"input {port.name!r} is not a list of equal rows: {error}") from None
    target = np.dtype(object if port.dtype == "object" else port.dtype)
    if array.dtype == target or array.dtype.kind not in "biuf" or target.kind == "O":
        return array
    with np.errstate(all="ignore"):
        found = array.astype(target)
    if target.kind in "biu" and not np.array_equal(found, array):
        raise InvalidArgument(
            f"input {port.name!r} takes {port.dtype}, which does not hold all numbers of its list"
        )
    return found


def _described(port: Port) -> NodeArg:
    if port.kind:
        return NodeArg(port.name, port.kind, [])
    return NodeArg(port.name, type_of(port.dtype), list(port.shape))
