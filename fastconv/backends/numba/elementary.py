"""Functions of one number as LLVM's instructions, so that a loop over them becomes vector code.

What they are is in `backends.manifest.scalar_functions`. Nothing branches, and a loop's vector body
and its remainder give the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from fastconv.backends.manifest import scalar_functions
from fastconv.backends.manifest.scalar_functions import Value, Vocabulary
from fastconv.backends.native import coefficients
from fastconv.backends.numba.engine import part

Function = Callable[..., Any]


def inlined(function: Function) -> Function:
    """Compile a function into every place that calls it."""
    compiled: Function = part(function, forceinline=True)
    return compiled


def clamped(x: Any, low: Any, high: Any) -> Any:
    """X inside [low, high], else the nearer limit; NaN stays. To be inlined."""
    return pick(x < low, low, pick(x > high, high, x))


@intrinsic
def pick(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """Return ``yes`` where the condition holds, else ``no``; nothing branches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(condition, yes, no), codegen


class _Instructions(Vocabulary):
    """Operations as LLVM's instructions."""

    def __init__(self, dtype: str, builder: Any) -> None:
        super().__init__(dtype, coefficients)
        self._builder = builder
        self._real = ir.DoubleType() if self.wide else ir.FloatType()
        self._integer = ir.IntType(64 if self.wide else 32)

    def number(self, value: float) -> Any:
        rounded = value if self.wide else float(np.float32(value))
        return ir.Constant(self._real, rounded)

    def operation(self, name: str, *operands: Any) -> Any:
        if name in _PLAIN:
            return getattr(self._builder, _PLAIN[name])(*operands)
        if name in _CALLED:
            return self._called(_CALLED[name], *operands)
        return getattr(self, f"_{name}")(*operands)

    def _called(self, name: str, *operands: Any) -> Any:
        """Call a function of LLVM's: it becomes instructions, in vectors too."""
        signature = ir.FunctionType(self._real, [self._real] * len(operands))
        full = f"llvm.{name}.f{64 if self.wide else 32}"
        function = cgutils.get_or_insert_function(self._builder.module, signature, full)
        return self._builder.call(function, operands)

    def _less(self, x: Any, y: Any, yes: Any, no: Any) -> Any:
        return self._builder.select(self._builder.fcmp_ordered("<", x, y), yes, no)

    def _smaller(self, limit: Any, x: Any) -> Any:
        return self._less(limit, x, limit, x)

    def _larger(self, limit: Any, x: Any) -> Any:
        return self._less(x, limit, limit, x)

    def _or_nan(self, nan: Any, x: Any) -> Any:
        return self._builder.select(self._builder.fcmp_unordered("uno", nan, nan), nan, x)

    def _bits(self, x: Any) -> Any:
        return self._builder.bitcast(x, self._integer)

    def _power(self, n: Any) -> Any:
        """Return 2^n for an integer to which the bias was added; higher bits are lost."""
        bits = self._builder.shl(n, self._integer(self.mantissa))
        return self._builder.bitcast(bits, self._real)

    def _halves(self, shifted: Any) -> tuple[Any, Any]:
        magic = np.array(1.5 * 2.0**self.mantissa, self.dtype)
        n = self._builder.sub(
            self._bits(shifted), self._integer(int(magic.view(f"i{magic.itemsize}")))
        )
        half = self._builder.ashr(n, self._integer(1))
        return half, self._builder.sub(n, half)

    def _first_power(self, shifted: Any) -> Any:
        return self._power(self._builder.add(self._halves(shifted)[0], self._integer(self.bias)))

    def _second_power(self, shifted: Any) -> Any:
        return self._power(self._builder.add(self._halves(shifted)[1], self._integer(self.bias)))

    def _exponent(self, shifted: Any) -> Any:
        return self._power(self._bits(shifted))

    def _scaled(self, less_one: Any, n: Any, first: Any, second: Any) -> Any:
        return self._builder.fmul(self._called("fmuladd", less_one, first, first), second)


_PLAIN = {
    "add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv", "negative": "fneg",
}  # fmt: skip
_CALLED = {
    "fma": "fmuladd", "magnitude": "fabs", "signed_as": "copysign", "root": "sqrt", "rint": "rint",
    "floor": "floor", "ceil": "ceil",
}  # fmt: skip


def _made(name: str, dtype: str, compute: Callable[..., Value], count: int) -> Function:
    """Make an intrinsic that computes a function of so many numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = _Instructions(dtype, builder)
        return compute(words, *(Value(words, raw) for raw in args)).raw

    if count == 1:

        def typed(typingctx: Any, x: Any) -> Any:
            return x(x), codegen

    else:

        def typed(typingctx: Any, x: Any, a: Any, b: Any) -> Any:  # type: ignore[misc]
            return x(x, x, x), codegen

    typed.__name__ = f"{name}_{dtype}"
    return intrinsic(typed)  # type: ignore[no-any-return]


@functools.cache
def make_function(name: str, dtype: str) -> Function:
    """Make a function by its name, of a number and two parameters."""

    def compute(words: Vocabulary, x: Value, a: Value, b: Value) -> Value:
        return scalar_functions.value_of(words, name, x, a, b)

    return _made(name, dtype, compute, 3)


def _maker(function: Callable[[Any, Value], Value]) -> Callable[[str], Function]:
    @functools.cache
    def make(dtype: str) -> Function:
        return _made(function.__name__, dtype, function, 1)

    return make


# Each makes a function of one number for a dtype.
make_exp = _maker(scalar_functions.exponential)
make_expm1 = _maker(scalar_functions.exponential_less_one)
make_log1p = _maker(scalar_functions.log_of_more)
make_tanh = _maker(scalar_functions.hyperbolic_tangent)
make_erfc = _maker(scalar_functions.error_complement)
