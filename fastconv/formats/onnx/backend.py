"""An onnx backend: ``onnx.backend.base``'s classes, and their methods as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastconv.formats.onnx.reader import graph_of, import_onnx
from fastconv.network import Network
from fastconv.problem.values import integer, shown

onnx = import_onnx()
from onnx.backend.base import Backend, BackendRep, namedtupledict  # noqa: E402


class PreparedModel(BackendRep):  # type: ignore[misc]
    """A model ready to run.

    Parameters
    ----------
    network : Network
        What the model was read as.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run the model.

        Parameters
        ----------
        inputs : sequence or mapping
            Arrays (lists for sequences) in the order of the model's inputs, or by their names.

        Returns
        -------
        named tuple
            The outputs, in order.

        Raises
        ------
        ValueError, TypeError
            For inputs that the model does not take, and what its nodes do not take.
        """
        ports = self.network.inputs
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            given = _in_order(inputs)
            if len(given) != len(ports):
                raise ValueError(f"the model takes {len(ports)} inputs, but got {len(given)}")
            feeds = {port.name: value for port, value in zip(ports, given, strict=True)}
        results = self.network.run(None, feeds)
        names = [port.name for port in self.network.outputs]
        named: tuple[Any, ...] = namedtupledict("Outputs", names)(*map(_plain, results))
        return named


class FastconvBackend(Backend):  # type: ignore[misc]
    """The backend: CPU alone."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Return whether a model can be run: whether `prepare` takes it."""
        try:
            cls.prepare(model, device, **kwargs)
        except (ValueError, TypeError):
            return False
        return True

    @classmethod
    def prepare(
        cls, model: Any, device: str = "CPU", *, max_memory: int | None = None, **kwargs: Any
    ) -> PreparedModel:
        """Read a model.

        Parameters
        ----------
        model : onnx.ModelProto
            Weights in files of their own must have been loaded.
        device : str
            "CPU".
        max_memory : int, optional
            Bytes that the model's values may take together; the memory that this process may use
            where not given.

        Raises
        ------
        ValueError
            For another device, a model that onnx's checker refuses, and operators that neither
            fastconv nor onnx's reference runs: these are named, all at once.
        """
        _check_device(device)
        _check_kind(model, onnx.ModelProto, "model")
        graph = graph_of(model, max_memory=max_memory)
        return PreparedModel(Network.from_graph(graph, max_memory=max_memory))

    @classmethod
    def run_node(
        cls,
        node: Any,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node on arrays, in the order of its inputs that are not left out.

        Parameters
        ----------
        node : onnx.NodeProto
        inputs : sequence of arrays
        device : str
            "CPU".
        outputs_info : sequence of (dtype, shape), optional
            Not needed.
        opset_version : int, optional
            The newest that onnx knows where not given.

        Raises
        ------
        ValueError, TypeError
            For what the node does not take.
        """
        _check_device(device)
        _check_kind(node, onnx.NodeProto, "node")
        newest = onnx.defs.onnx_opset_version()
        version = integer(kwargs.pop("opset_version", newest), "opset_version", least=1)
        names = list(dict.fromkeys(name for name in node.input if name))
        arrays = [_array(value) for value in _in_order(inputs)]
        if len(names) != len(arrays):
            raise ValueError(f"the node takes {len(names)} inputs, but got {len(arrays)}")
        ports = [_port(name, array) for name, array in zip(names, arrays, strict=True)]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", ports, outputs)
        opsets = [onnx.helper.make_opsetid(node.domain, version)]
        if node.domain not in ("", "ai.onnx"):
            opsets.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
        model = onnx.helper.make_model(graph, opset_imports=opsets)
        results = graph_of(model, checked=False).run(dict(zip(names, arrays, strict=True)))
        named: tuple[Any, ...] = namedtupledict("Outputs", [o.name for o in outputs])(*results)
        return named

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether a device is the CPU."""
        return str(device).upper().split(":")[0] == "CPU"


def _check_device(device: Any) -> None:
    if not FastconvBackend.supports_device(device):
        raise ValueError(f"device has to be CPU, but got {shown(device)}")


def _check_kind(value: Any, kind: type, name: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be an onnx.{kind.__name__}, not {shown(value)}")


def _in_order(inputs: Any) -> list[Any]:
    """Return inputs as a list: several are in a list or a tuple, one may be alone."""
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _array(value: Any) -> Any:
    try:
        return np.asarray(value)
    except Exception as error:  # whatever a foreign object's own conversion raises
        raise TypeError(f"inputs must be arrays: {error}") from None


def _port(name: str, array: Any) -> Any:
    """Describe an input as onnx does."""
    try:
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    except Exception as error:  # onnx raises several kinds here
        raise TypeError(f"inputs: {name!r} is of {array.dtype}, which onnx has not") from error
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)


def _plain(value: Any) -> Any:
    """Return what may be a parameter as the plain array that it is."""
    return np.asarray(value) if isinstance(value, np.ndarray) else value


is_compatible = FastconvBackend.is_compatible
prepare = FastconvBackend.prepare
run_model = FastconvBackend.run_model
run_node = FastconvBackend.run_node
supports_device = FastconvBackend.supports_device
