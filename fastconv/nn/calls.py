"""Running a module: which layer is running now, for traces and for the words of errors."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.nn.module import Module


class _Running(threading.local):
    """The modules whose ``forward`` is running in this thread, outermost first."""

    def __init__(self) -> None:
        self.modules: list[Module] = []


_running = _Running()


def run(module: Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Run a module's ``forward``, entered on the stack of running modules."""
    stack = _running.modules
    stack.append(module)
    try:
        if any(hasattr(value, "__fastconv_record__") for value in inputs):
            from fastconv.network import trace

            with trace.scope(path(stack), module):
                return module.forward(*inputs, **options)
        return module.forward(*inputs, **options)
    except (TypeError, ValueError) as error:
        _name_layer(error, stack)
        raise
    finally:
        stack.pop()


def path(stack: list[Module]) -> str:
    """Return the dotted name of the innermost running module, as the outermost names it."""
    names: list[str] = []
    for parent, child in itertools.pairwise(stack):
        if child is not parent:
            names.append(_name_inside(parent, child))
    return ".".join(names)


def _name_inside(parent: Module, child: Module) -> str:
    for name, module in parent._modules.items():
        if module is child:
            return str(name)
    for name, module in parent.named_modules():
        if module is child:
            return name
    return type(child).__name__


def _name_layer(error: Exception, stack: list[Module]) -> None:
    """Add the layer's name to an error's message, once: where it was raised."""
    if getattr(error, "_fastconv_named", False):
        return
    error._fastconv_named = True  # type: ignore[attr-defined]
    if len(error.args) == 1 and isinstance(error.args[0], str):
        module, name = stack[-1], path(stack)
        shown = f"{type(module).__name__}({module.extra_repr()})"
        where = f"layer {name!r}: {shown}" if name else shown
        error.args = (f"{error.args[0]} (in {where})",)
