"""onnx's own backend tests, as its runner makes them, for fastconv's backend on the CPU."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

# The smaller of the nine networks; the report runs them all.
QUICK_NETWORKS = ("test_shufflenet", "test_squeezenet", "test_resnet50")


@functools.cache
def groups() -> dict[str, dict[str, Callable[[], Any]]]:
    """Return the tests by group ("Node", "Simple", ...) and name, without the device's suffix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.runner import Runner

        from fastconv.formats.onnx.backend import FastconvBackend

        cases = Runner(FastconvBackend, __name__).test_cases
    found: dict[str, dict[str, Callable[[], Any]]] = {}
    for title, case in cases.items():
        group = re.sub(r"^OnnxBackend|ModelTest$", "", title)
        names = [name for name in vars(case) if name.endswith("_cpu")]
        found[group] = {
            name.removesuffix("_cpu"): functools.partial(getattr(case, name), None)
            for name in sorted(names)
        }
    return found


def models() -> dict[str, Any]:
    """Return the node tests with their models and data by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for case in load_model_tests(kind="node")}
