"""onnx's own backend node tests, for every operator that fastconv reads."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np


@functools.cache
def cases() -> dict[str, Any]:
    """Node tests by name whose model holds nothing but operators that are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    return {case.name: case for case in found if _is_read(case.model)}


def _is_read(model: Any) -> bool:
    from fastconv.formats.onnx.call import TRANSLATIONS

    names = {(node.domain, node.op_type) for node in model.graph.node}
    return all(domain == "" and name in {*TRANSLATIONS, "Constant"} for domain, name in names)


def run(case: Any) -> None:
    """Run one case by fastconv and compare as onnx does; dtypes must be the very same."""
    from fastconv.formats.onnx import graph_of
    from fastconv.network import Network

    network = Network.from_graph(graph_of(case.model))
    for given, wanted_ones in case.data_sets:
        inputs, expected = map(_arrays, (given, wanted_ones))
        names = [port.name for port in network.inputs]
        results = network.run(None, dict(zip(names, inputs, strict=True)))
        for result, wanted in zip(results, expected, strict=True):
            wanted = np.asarray(wanted)
            assert np.shape(result) == wanted.shape, (np.shape(result), wanted.shape)
            assert np.asarray(result).dtype == wanted.dtype, (result.dtype, wanted.dtype)
            np.testing.assert_allclose(
                np.asarray(result, _comparable(wanted.dtype)),
                wanted.astype(_comparable(wanted.dtype)),
                rtol=case.rtol,
                atol=case.atol,
            )


def _arrays(values: Any) -> list[Any]:
    """Give arrays for tensors in onnx's own form."""
    from onnx import TensorProto, numpy_helper

    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in values]


def _comparable(dtype: np.dtype[Any]) -> Any:
    return np.float64 if dtype.kind not in "biu" else dtype
