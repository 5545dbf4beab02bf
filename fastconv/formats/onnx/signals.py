"""Operators of signals: Fourier transforms, windows, mel filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.formats.onnx.call import Call, translates
from fastconv.formats.onnx.values import dtype_of
from fastconv.network import Node


@translates("DFT")
def dft(call: Call) -> list[Node]:
    # Up to opset 19 the axis was an attribute.
    default = -2 if call.opset >= 20 else call.get("axis", 1)
    return call.node(
        "dft", default_axis=default, inverse=call.flag("inverse"), onesided=call.flag("onesided")
    )


@translates("STFT")
def stft(call: Call) -> list[Node]:
    return call.node("stft", onesided=call.flag("onesided", 1))


@translates("HannWindow", "HammingWindow", "BlackmanWindow")
def window(call: Call) -> list[Node]:
    return call.node(
        "signal_window",
        kind=call.op.removesuffix("Window").lower(),
        periodic=call.flag("periodic", 1),
        dtype=_output(call),
    )


@translates("MelWeightMatrix")
def mel_weights(call: Call) -> list[Node]:
    return call.node("mel_weights", dtype=_output(call))


def _output(call: Call) -> np.dtype[Any]:
    return dtype_of(call.get("output_datatype", 1), f"output_datatype of {call.op}")
