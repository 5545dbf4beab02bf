"""Times of a session's runs, node by node, as the JSON that chrome://tracing and Perfetto show."""

from __future__ import annotations

import datetime
import json
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from fastconv import forks
from fastconv.formats.onnx.runtime.providers import CPU
from fastconv.network import Network, TimedSpan

# So many events are kept, as onnxruntime keeps them.
_MOST_EVENTS = 1_000_000


class Recorder:
    """What a session did and when, from ``began_ns`` on (`time.perf_counter_ns`)."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.began_ns = time.perf_counter_ns()
        self._events: list[dict[str, Any]] = []
        self._lock = forks.lock()
        self._is_open = True

    def add(self, category: str, name: str, begin: float, end: float, args: dict[str, Any]) -> None:
        """Add an event that began and ended then, in seconds of `time.perf_counter`."""
        event = {
            "cat": category, "pid": os.getpid(), "tid": threading.get_native_id(), "ph": "X",
            "name": name, "ts": round(begin * 1e6 - self.began_ns / 1e3, 3),
            "dur": round((end - begin) * 1e6, 3), "args": args,
        }  # fmt: skip
        with self._lock:
            if self._is_open and len(self._events) < _MOST_EVENTS:
                self._events.append(event)

    def run(self, network: Network, inputs: Sequence[Any]) -> list[Any]:
        """Run a network operation by operation; return its outputs."""
        if not self._is_open:
            return network.run_timed(inputs)[0]
        begin = time.perf_counter()
        outputs, spans = network.run_timed(inputs)
        end = time.perf_counter()
        for span in spans:
            self._add_node(span)
        self.add("Session", "model_run", begin, end, {})
        return outputs

    def _add_node(self, span: TimedSpan) -> None:
        args = {"op_name": span.kind, "provider": CPU, "algorithm": span.algorithm}
        if span.fused:
            args["fused"] = ", ".join(span.fused)
        self.add("Node", f"{span.name}_kernel_time", span.begin, span.end, args)

    def finish(self) -> str:
        """Write the events; return the file's name. Called again, it returns "" and writes nothing.

        The name is the prefix and the time of day.
        """
        with self._lock:
            if not self._is_open:
                return ""
            self._is_open = False
            events, self._events = self._events, []
        now = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
        path = f"{self._prefix}_{now}.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(events, file)
        return path

    def __reduce__(self) -> Any:
        # Times of one process say nothing to another.
        return Recorder, (self._prefix,)
