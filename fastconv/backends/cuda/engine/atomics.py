"""What threads of several blocks may do to one cell: only what comes out alike in every order."""

from __future__ import annotations

from typing import Any

from numba import config

if config.ENABLE_CUDASIM:

    def raise_to(target: Any, index: Any, value: Any) -> None:
        """Raise an int32 in global memory to ``value``, where that is more."""
        target[index] = max(target[index], value)

else:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic
    def raise_to(typingctx: Any, target: Any, index: Any, value: Any) -> Any:
        """Raise an int32 in global memory to ``value``, where that is more."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # Told to be global memory, it is one reduction at the second cache (RED.MAX).
            kind = ir.PointerType(ir.IntType(32), 1)
            place = builder.addrspacecast(builder.gep(args[0], [args[1]]), kind)
            builder.atomic_rmw("max", place, args[2], "monotonic")
            return context.get_dummy_value()

        return types.void(target, index, types.int32), codegen
