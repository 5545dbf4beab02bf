"""Inputs and outputs that are bound to a session before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.formats.onnx.errors import CallError
from fastconv.formats.onnx.runtime.values import (
    OrtValue,
    OrtValueVector,
    at_address,
    held,
    only_cpu,
)
from fastconv.problem.values import shown

if TYPE_CHECKING:
    from fastconv.formats.onnx.session import InferenceSession


class IOBinding:
    """The inputs and outputs of later runs of one session: `InferenceSession.run_with_iobinding`.

    Outputs that are bound to memory are written there.
    """

    def __init__(self, session: InferenceSession) -> None:
        self._known = {a.name for a in session.get_inputs()}
        self._known |= {a.name for a in session.get_overridable_initializers()}
        self._inputs: dict[str, Any] = {}
        # None: memory is taken by the run.
        self._outputs: dict[str, np.ndarray[Any, Any] | None] = {}
        self._results: list[OrtValue] = []

    def _check(self, name: Any) -> None:
        if not isinstance(name, str) or name not in self._known:
            raise CallError(f"there is no input {shown(name)}; there are {', '.join(self._known)}")

    def bind_cpu_input(self, name: str, arr_on_cpu: Any) -> None:
        """Bind an input to an array."""
        self._check(name)
        if not isinstance(arr_on_cpu, np.ndarray):
            raise CallError(f"input {name!r} is bound to an array, but got {shown(arr_on_cpu)}")
        self._inputs[name] = arr_on_cpu

    def bind_input(
        self,
        name: str,
        device_type: Any,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Bind an input to memory at an address, which must be kept until the last run."""
        only_cpu(device_type, device_id)
        self._check(name)
        self._inputs[name] = at_address(buffer_ptr, shape, element_type)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an input to a value."""
        self._check(name)
        if not isinstance(ortvalue, OrtValue):
            raise TypeError(f"input {name!r} is bound to an OrtValue, but got {shown(ortvalue)}")
        self._inputs[name] = held(ortvalue)

    def bind_output(
        self,
        name: str,
        device_type: Any = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Bind an output to memory at an address; without one, each run takes memory for it."""
        only_cpu(device_type, device_id)
        if not isinstance(name, str):
            raise TypeError(f"name must be the name of an output, not {shown(name)}")
        if buffer_ptr is None:
            self._outputs[name] = None
            return
        if element_type is None or shape is None:
            raise CallError(f"output {name!r} at an address needs its element type and shape")
        self._outputs[name] = at_address(buffer_ptr, shape, element_type)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Bind an output to a value, which each run overwrites."""
        if not isinstance(ortvalue, OrtValue):
            raise TypeError(f"output {name!r} is bound to an OrtValue, but got {shown(ortvalue)}")
        self._outputs[name] = ortvalue.numpy()

    def synchronize_inputs(self) -> None:
        """Do nothing: memory of the CPU is never behind."""

    def synchronize_outputs(self) -> None:
        """Do nothing: memory of the CPU is never behind."""

    def get_outputs(self) -> list[OrtValue]:
        """Return the outputs of the last run, in the order in which they were bound."""
        return list(self._results)

    def get_outputs_as_ortvaluevector(self) -> OrtValueVector:
        """Return the outputs of the last run, in the order in which they were bound."""
        return OrtValueVector(self._results)

    def copy_outputs_to_cpu(self) -> list[Any]:
        """Return the outputs of the last run as arrays of their own."""
        return [v.numpy().copy() if v.is_tensor() else held(v) for v in self._results]

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Forget the outputs."""
        self._outputs.clear()
        self._results.clear()

    def run(self, session: InferenceSession, run_options: Any) -> None:
        """Run a session on the inputs; keep the outputs, or write them where they are bound.

        Raises
        ------
        ValueError
            For no outputs, missing inputs, and memory of another shape or dtype; nothing is
            written then.
        """
        if not self._outputs:
            raise CallError("bind an output first: a run without outputs has nothing to do")
        names = list(self._outputs)
        results = session.run(names, self._inputs, run_options)
        for name, result in zip(names, results, strict=True):
            target = self._outputs[name]
            if target is not None:
                _check_target(name, target, result)
        kept = []
        for name, result in zip(names, results, strict=True):
            target = self._outputs[name]
            if target is not None:
                target[...] = result
            kept.append(OrtValue(result if target is None else target))
        self._results = kept


def _check_target(name: str, target: np.ndarray[Any, Any], result: Any) -> None:
    shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
    if shape != target.shape or dtype != target.dtype:
        raise CallError(
            f"output {name!r} is bound to {target.dtype}{list(target.shape)}, but is "
            f"{dtype}{list(shape or ())}; bind it to memory of that size, or to none"
        )
    if not target.flags.writeable:
        raise CallError(f"output {name!r} is bound to memory that cannot be written to")
