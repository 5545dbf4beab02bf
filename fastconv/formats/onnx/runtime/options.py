"""Options of sessions and runs, by onnxruntime's names."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.formats.onnx.errors import CallError, Fail

_LONGEST_KEY, _LONGEST_VALUE = 1024, 8192


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


class ExecutionOrder(enum.IntEnum):
    """onnxruntime's orders of nodes; here the planner chooses the order."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


def _flag(value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"takes True or False, but got {value!r}")
    return bool(value)


def _integer(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"takes an integer, but got {value!r}") from None


def _text(value: Any) -> str:
    # onnxruntime's own conversion takes paths as well.
    if hasattr(value, "__fspath__"):
        value = value.__fspath__()
    if not isinstance(value, str):
        raise TypeError(f"takes a string, but got {value!r}")
    return value


def _member(kind: type[enum.IntEnum]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return kind(operator.index(value))
        except (TypeError, ValueError):
            raise TypeError(f"takes a {kind.__name__}, but got {value!r}") from None

    return convert


class Option:
    """An option of a class of options: its default, and what converts a value that is set."""

    def __init__(self, default: Any, convert: Callable[[Any], Any]) -> None:
        self.default, self._convert = default, convert
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, holder: Any, owner: type | None = None) -> Any:
        return self if holder is None else holder._values.get(self.name, self.default)

    def __set__(self, holder: Any, value: Any) -> None:
        try:
            holder._values[self.name] = self._convert(value)
        except TypeError as error:
            raise TypeError(f"{self.name} {error}") from None


class Options:
    """Options by name; a name that does not exist is an AttributeError, as in onnxruntime."""

    __slots__ = ("_entries", "_values")

    def __init__(self, **values: Any) -> None:
        self._values: dict[str, Any] = {}
        self._entries: dict[str, str] = {}
        known = dict(self._options())
        for name, value in values.items():
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no option {name!r}")
            setattr(self, name, value)

    @classmethod
    def _options(cls) -> Iterator[tuple[str, Option]]:
        return ((n, o) for n, o in vars(cls).items() if isinstance(o, Option))

    def _add_entry(self, key: Any, value: Any) -> None:
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"an entry is two strings, but got {key!r} and {value!r}")
        if not 0 < len(key) <= _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise CallError(
                f"an entry's key has 1 to {_LONGEST_KEY} characters and its value at most "
                f"{_LONGEST_VALUE}, but got {len(key)} and {len(value)}"
            )
        self._entries[key] = value

    def _entry(self, key: str) -> str:
        if key not in self._entries:
            raise CallError(f"there is no configuration entry {key!r}")
        return self._entries[key]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Options) or type(other) is not type(self):
            return NotImplemented
        same = dict(self._options()) if self._entries == other._entries else None
        return same is not None and all(getattr(self, n) == getattr(other, n) for n in same)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={getattr(self, name)!r}" for name, _ in self._options())
        return f"{type(self).__name__}({own})"


class SessionOptions(Options):
    """onnxruntime's options of a session, by its names.

    These change something here; the others are taken, and change nothing:

    - ``intra_op_num_threads``: the threads of a run (0: fastconv's own setting).
    - ``optimized_model_filepath``: the model is written there as it was understood: its functions
      put in place, free dimensions overridden, initializers replaced. What fastconv rewrites beyond
      that depends on the inputs' shapes, and has no form in ONNX.
    - ``enable_profiling``, ``profile_file_prefix``: every run is timed node by node;
      `InferenceSession.end_profiling` writes the times.
    - ``add_free_dimension_override_by_name``, ``add_free_dimension_override_by_denotation``,
      ``add_initializer``, ``add_external_initializers``.

    Raises
    ------
    AttributeError
        Where an option is set that onnxruntime does not have.
    TypeError
        For a value of another type.
    """

    __slots__ = ("_by_denotation", "_by_name", "_initializers", "_providers")

    intra_op_num_threads = Option(0, _integer)
    inter_op_num_threads = Option(0, _integer)
    graph_optimization_level = Option(
        GraphOptimizationLevel.ORT_ENABLE_ALL, _member(GraphOptimizationLevel)
    )
    execution_mode = Option(ExecutionMode.ORT_SEQUENTIAL, _member(ExecutionMode))
    execution_order = Option(ExecutionOrder.DEFAULT, _member(ExecutionOrder))
    enable_cpu_mem_arena = Option(True, _flag)
    enable_mem_pattern = Option(True, _flag)
    enable_mem_reuse = Option(True, _flag)
    enable_profiling = Option(False, _flag)
    log_severity_level = Option(-1, _integer)
    log_verbosity_level = Option(0, _integer)
    logid = Option("", _text)
    optimized_model_filepath = Option("", _text)
    profile_file_prefix = Option("onnxruntime_profile_", _text)
    use_deterministic_compute = Option(False, _flag)
    use_per_session_threads = Option(True, _flag)

    def __init__(self, **values: Any) -> None:
        self._by_name: dict[str, int] = {}
        self._by_denotation: dict[str, int] = {}
        self._initializers: dict[str, Any] = {}
        self._providers: list[tuple[str, dict[str, str]]] = []
        super().__init__(**values)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry.

        ``session.optimized_model_external_initializers_file_name`` names the file, in the folder of
        ``optimized_model_filepath``, that takes the weights; other entries change nothing.
        """
        self._add_entry(key, value)

    def get_session_config_entry(self, key: str) -> str:
        """Return an entry that was added.

        Raises
        ------
        ValueError
            Where it was not; it is a RuntimeError too, as in onnxruntime.
        """
        return self._entry(key)

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Fix the dimensions of inputs and outputs that the model calls by a name."""
        self._by_name[_text(name)] = _dimension(size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Fix the dimensions of inputs that have a denotation, such as "DATA_BATCH"."""
        self._by_denotation[_text(denotation)] = _dimension(size)

    def add_initializer(self, name: str, value: Any) -> None:
        """Take an `OrtValue` for an initializer of the model."""
        self._initializers[_text(name)] = value

    def add_external_initializers(self, names: Sequence[str], values: Sequence[Any]) -> None:
        """Take `OrtValue`s for initializers of the model."""
        if len(names) != len(values):
            raise CallError(f"{len(names)} names go with {len(values)} values")
        for name, value in zip(names, values, strict=True):
            self.add_initializer(name, value)

    def add_provider(self, name: str, options: Mapping[str, str]) -> None:
        """Take a provider, as those that a session is given."""
        self._providers.append((_text(name), dict(options)))

    def has_providers(self) -> bool:
        """Return whether providers were added."""
        return bool(self._providers)

    def register_custom_ops_library(self, path: str) -> None:
        """Refuse a library of custom operators.

        Raises
        ------
        ValueError
            Always: such a library is written for onnxruntime's own interface.
        """
        raise Fail(
            f"a library of custom operators ({path}) runs in onnxruntime alone; express the "
            f"operators by ONNX's own, or as a model function (onnx.FunctionProto)"
        )


def _dimension(size: Any) -> int:
    found = _integer(size)
    if found < 0:
        raise CallError(f"a dimension must not be negative, but got {found}")
    return found


class RunOptions(Options):
    """onnxruntime's options of a run.

    ``terminate`` ends a run before it begins, by `Fail`; one that is under way goes on to its end.
    The others are taken, and change nothing.
    """

    __slots__ = ()

    log_severity_level = Option(-1, _integer)
    log_verbosity_level = Option(0, _integer)
    logid = Option("", _text)
    only_execute_path_to_fetches = Option(False, _flag)
    terminate = Option(False, _flag)

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Keep an entry, which changes nothing."""
        self._add_entry(key, value)

    def get_run_config_entry(self, key: str) -> str:
        """Return an entry that was added.

        Raises
        ------
        ValueError
            Where it was not; it is a RuntimeError too, as in onnxruntime.
        """
        return self._entry(key)
