"""Four elements that are a constant step apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import config

from fastconv.backends.cuda.engine.intrinsics import load4

if config.ENABLE_CUDASIM:

    def load4_by(step: int) -> Callable[..., Any]:
        """Return what loads four elements ``step`` apart; one of step 1 is 16-byte aligned."""

        def loaded(source: Any, index: Any) -> tuple[Any, ...]:
            if step == 1:
                return load4(source, index)
            return tuple(source[index + i * step] for i in range(4))

        return loaded

else:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    def load4_by(step: int) -> Callable[..., Any]:
        """Return what loads four elements ``step`` apart; one of step 1 is 16-byte aligned."""
        if step == 1:
            return load4

        @intrinsic
        def loaded(typingctx: Any, source: Any, index: Any) -> Any:
            def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
                place = builder.gep(args[0], [args[1]])
                word = ir.IntType(64)
                cells = [builder.gep(place, [ir.Constant(word, i * step)]) for i in range(4)]
                parts = [builder.load(cells[0])] * 4 if step == 0 else [*map(builder.load, cells)]
                return context.make_tuple(builder, signature.return_type, parts)

            return types.UniTuple(source.dtype, 4)(source, index), codegen

        return loaded
