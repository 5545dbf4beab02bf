"""Fourier transforms, complex numbers, and windows over signals."""

from __future__ import annotations

from fastconv.formats.torch.arithmetic import binary, operand
from fastconv.formats.torch.call import Call, Unsupported, translates


def _axes(call: Call) -> tuple[int, ...]:
    return tuple(int(axis) % call.rank() for axis in call.get("dim"))


def _refuse_narrow(call: Call) -> None:
    if str(call.fake().dtype) in ("torch.float16", "torch.bfloat16", "torch.complex32"):
        raise Unsupported("of 16-bit numbers")


@translates("_fft_r2c")
def fft_of_real(call: Call) -> None:
    _refuse_narrow(call)
    call.answer(
        "fft_of_real",
        axes=_axes(call),
        scale=int(call.get("normalization")),
        onesided=bool(call.get("onesided")),
    )


@translates("_fft_c2c")
def fft(call: Call) -> None:
    _refuse_narrow(call)
    scale, forward = int(call.get("normalization")), bool(call.get("forward"))
    call.answer("fft", axes=_axes(call), scale=scale, forward=forward)


@translates("_fft_c2r")
def fft_to_real(call: Call) -> None:
    _refuse_narrow(call)
    inputs = (call.value("self"), call.sizes([call.arguments["last_dim_size"]]))
    call.answer("fft_to_real", inputs, axes=_axes(call), scale=int(call.get("normalization")))


@translates("unfold")
def windows(call: Call) -> None:
    if call.rank() == 0:
        raise Unsupported("of a scalar")
    axis = int(call.get("dimension")) % call.rank()
    call.answer("windows", axis=axis, size=int(call.get("size")), step=int(call.get("step")))


@translates("complex")
def complex_of(call: Call) -> None:
    _refuse_narrow_parts(call)
    call.answer("complex_of", (call.value("real"), call.value("imag")))


def _refuse_narrow_parts(call: Call) -> None:
    if str(call.fake("real").dtype) == "torch.float16":
        raise Unsupported("of 16-bit numbers")


@translates("polar")
def polar(call: Call) -> None:
    length, turn = call.value("abs"), call.value("angle")
    real = call.step("mul", (length, call.step("cos", (turn,))))
    call.answer("complex_of", (real, call.step("mul", (length, call.step("sin", (turn,))))))


@translates("view_as_real")
def view_as_real(call: Call) -> None:
    call.answer("real_pairs")


@translates("view_as_complex")
def view_as_complex(call: Call) -> None:
    _refuse_narrow(call)
    call.answer("complex_of_pairs")


@translates("angle")
def angle(call: Call) -> None:
    call.answer("angle", (operand(call, "self", call.result.dtype),)
                if not call.fake().dtype.is_complex else ())  # fmt: skip


@translates("_conj", "conj_physical", "_conj_physical")
def conjugate(call: Call) -> None:
    if call.fake().dtype.is_complex:
        call.answer("conjugate")
    else:
        call.same(call.value("self"))


@translates("resolve_conj", "resolve_neg")
def resolved(call: Call) -> None:
    call.same(call.value("self"))


@translates("atan2", "hypot", "copysign")
def of_two(call: Call) -> None:
    if not call.result.dtype.is_floating_point:
        raise Unsupported("of integers")
    op = {"atan2": "arctan2"}.get(call.op, call.op)
    dtype = call.result.dtype
    call.answer(op, (operand(call, "self", dtype), operand(call, "other", dtype)))


@translates("fmod")
def fmod(call: Call) -> None:
    dtype = call.result.dtype
    pair = (operand(call, "self", dtype), operand(call, "other", dtype))
    call.answer("mod", pair, fmod=True)


@translates("__lshift__", "__rshift__", "bitwise_left_shift", "bitwise_right_shift")
def shift(call: Call) -> None:
    if call.result.dtype.is_floating_point:
        raise Unsupported("of floats")
    binary(call, "left_shift" if "l" in call.op.removeprefix("bitwise_")[:4] else "right_shift")
