"""What is done to four finished sums before they are stored: bias, residual, activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import config

from fastconv.backends.cuda.activation import scalar
from fastconv.backends.cuda.engine.intrinsics import (
    add4,
    load4,
    load_first,
    map4,
    store4,
    store_first,
)
from fastconv.problem.activation import Activation


def epilogue(
    bias: bool, residual: bool, activation: Activation | None, quads: bool
) -> Callable[..., None]:
    """Return ``finish(four, offsets, other, y, channel, place, count)``.

    Four sums of channels from ``channel`` on end at ``place`` of ``y``: all of them where channels
    come in ``quads``, else the first ``count``. Biases are at ``offsets``, a residual's elements at
    ``place`` of ``other``.
    """
    BIAS, RESIDUAL, ACTIVATION, QUADS = bias, residual, activation is not None, quads
    activate = map4(scalar(activation))

    def finish(
        four: Any, offsets: Any, other: Any, y: Any, channel: Any, place: Any, count: Any
    ) -> None:
        if BIAS:
            if QUADS:
                four = add4(four, load4(offsets, channel))
            else:
                four = add4(four, load_first(offsets, channel, count))
        if RESIDUAL:
            if QUADS:
                four = add4(four, load4(other, place))
            else:
                four = add4(four, load_first(other, place, count))
        if ACTIVATION:
            four = activate(four)
        if QUADS:
            store4(y, place, four)
        else:
            store_first(y, place, four, count)

    return _intrinsic(finish)


if config.ENABLE_CUDASIM:

    def _intrinsic(finish: Callable[..., None]) -> Callable[..., None]:
        return finish

else:
    from numba.core import types
    from numba.extending import intrinsic

    from fastconv.backends.cuda.engine.source import unrolled

    def _intrinsic(finish: Callable[..., None]) -> Callable[..., None]:
        written = unrolled(finish)

        @intrinsic
        def finished(
            typingctx: Any, four: Any, offsets: Any, other: Any, y: Any, channel: Any, place: Any,
            count: Any,
        ) -> Any:  # fmt: skip
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                return context.compile_internal(builder, written, signature, args)

            return types.void(four, offsets, other, y, channel, place, count), codegen

        return finished
