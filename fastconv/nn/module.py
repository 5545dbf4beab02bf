"""What every layer is: parameters, buffers and layers inside, by name; called to run forward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastconv.dispatch import Parameter as Parameter
from fastconv.nn import calls, state
from fastconv.nn.foreign import freeze
from fastconv.nn.initial import Initial, layer_dtype, shapes_only, shown
from fastconv.problem.values import shown as shown_value

M = TypeVar("M", bound="Module")
_STORES = ("_parameters", "_buffers", "_modules")


class IncompatibleKeys(NamedTuple):
    """Keys that ``load_state_dict`` did not find, and keys that it did not expect."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers: subclass it, make layers in ``__init__``, call them in ``forward``.

    Parameters and buffers are immutable arrays (`Parameter`): assign another array to change
    one, such as ``layer.weight = layer.weight * 2``. A NumPy array or a tensor that is assigned
    at a parameter's or buffer's name is copied, and must have its shape; it brings its own dtype.
    There is no autograd and no training mode.
    """

    training: bool = False

    def __init__(self) -> None:
        for store in _STORES:
            self.__dict__[store] = {}
        self.__dict__["_unsaved"] = set()

    # Attributes: parameters, buffers and modules live in dicts of their own.

    def __getattr__(self, name: str) -> Any:
        for store in _STORES:
            held = self.__dict__.get(store, {})
            if name in held:
                return shown(held, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError("call Module.__init__() first, by super().__init__()")
        for store in ("_parameters", "_buffers"):
            if name in self.__dict__[store]:
                self.__dict__[store][name] = self._replacement(store, name, value)
                return
        if isinstance(value, Module) or (name in self._modules and value is None):
            self._claim(name, "_modules")
            self._modules[name] = value
        elif name in self._modules:
            raise TypeError(f"{name} is a module: assign a Module or None, not {value!r}")
        elif isinstance(value, (Parameter, Initial)):
            self.register_parameter(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for store in _STORES:
            if name in self.__dict__.get(store, {}):
                del self.__dict__[store][name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        held = (name for store in _STORES for name in self.__dict__.get(store, {}))
        return sorted({*super().__dir__(), *held})

    def _claim(self, name: str, store: str) -> None:
        """Check a new name, and take it away from whatever bore it before."""
        if not name or "." in name:
            raise ValueError(f'a name must be a string without ".", not empty, but got {name!r}')
        for other in _STORES:
            if other != store:
                self.__dict__[other].pop(name, None)
        self.__dict__.pop(name, None)

    def _replacement(self, store: str, name: str, value: Any) -> Any:
        if value is None or isinstance(value, Initial):
            return value
        old = self.__dict__[store][name]
        if isinstance(value, (Module, str, bool)):
            raise TypeError(f"{name} is a parameter or buffer: assign an array or None")
        return freeze(value, name, None if old is None else tuple(old.shape))

    def register_parameter(self, name: str, value: Any) -> None:
        """Add a parameter: an array, or None for one that is missing."""
        self._register("_parameters", name, value)

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Add a buffer: an array that is not a weight; ``persistent``: it is in the state_dict."""
        self._register("_buffers", name, value)
        (self._unsaved.discard if persistent else self._unsaved.add)(name)

    def _register(self, store: str, name: str, value: Any) -> None:
        if name not in self.__dict__[store] and hasattr(self, name):
            raise KeyError(f"attribute {name!r} already exists")
        kept = value is None or isinstance(value, Initial)
        value = value if kept else freeze(value, name, None)
        self._claim(name, store)
        self.__dict__[store][name] = value

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module inside this one; it can be reached as an attribute."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{shown_value(module)} is not a Module")
        if not isinstance(name, str):
            raise TypeError(f"the name of a Module must be a str, not {shown_value(name)}")
        if name not in self._modules and hasattr(self, name):
            raise KeyError(f"attribute {name!r} already exists")
        self._claim(name, "_modules")
        self._modules[name] = module

    register_module = add_module

    # Running.

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output: every subclass gives its own."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the "forward" method')

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward``; errors raised inside name the layer that raised them."""
        return calls.run(self, inputs, options)

    def train(self: M, mode: bool = True) -> M:
        """Stay in evaluation mode; asking for training is a NotImplementedError."""
        if mode:
            raise NotImplementedError("fastconv runs networks forward only: it cannot train")
        return self

    def eval(self: M) -> M:
        """Return the module itself: it is always in evaluation mode."""
        return self

    def summary(self, input_shape: Any, **options: Any) -> Any:
        """Tabulate output shape, parameters, work and receptive field, layer by layer.

        Nothing is run and no weights are drawn.

        Parameters
        ----------
        input_shape : tuple of ints, or a sequence of such tuples
            With the batch; several for a module of several inputs.
        **options
            As `fastconv.network.summary.summarise` has them; ``dtype`` is by default that of the
            first parameter.
        """
        from fastconv.network import summary

        with shapes_only():
            first = next(self.parameters(), None)
            options.setdefault("dtype", np.float32 if first is None else first.dtype)
            return summary.summarise(self, input_shape, **options)

    # Walking.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules right inside, each once, with their names."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the modules right inside, each once."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all modules inside, with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all modules inside."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield parameters with their dotted names, a shared one once."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield parameters, a shared one once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield buffers with their dotted names, a shared one once."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield buffers, a shared one once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(
        self, store: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Parameter]]:
        every: Any = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen: set[int] = set()
        for path, module in every if recurse else [(prefix, self)]:
            held = module.__dict__[store]
            for name in held:
                value = shown(held, name)
                if value is None or (remove_duplicate and id(value) in seen):
                    continue
                seen.add(id(value))
                yield _join(path, name), value

    def get_submodule(self, target: str) -> Module:
        """Return the module of that dotted name; "" is this module."""
        module: Any = self
        for name in target.split(".") if target else []:
            if name not in getattr(module, "_modules", {}):
                raise AttributeError(f"{type(module).__name__} has no module {name!r} ({target!r})")
            module = module._modules[name]
        found: Module = module
        return found

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call ``function`` with every module inside, then with this one."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    # State.

    def state_dict(self, *, prefix: str = "") -> dict[str, Parameter]:
        """Return all parameters and saved buffers by their dotted names, as torch orders them."""
        return dict(state.entries(self, prefix))

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Replace parameters and buffers by NumPy arrays or tensors, cast to their dtypes.

        Parameters
        ----------
        state_dict : mapping of dotted names to arrays
        strict : bool
            Whether missing and unexpected keys are errors.

        Returns
        -------
        IncompatibleKeys
            The missing and the unexpected keys. ``num_batches_tracked``, of no use in a forward
            pass, is never missing: old checkpoints lack it.

        Raises
        ------
        ValueError
            For keys or shapes that do not match; then nothing has been replaced.
        """
        return IncompatibleKeys(*state.load(self, state_dict, strict))

    def to(self: M, dtype: Any) -> M:
        """Cast floating point parameters and buffers to ``dtype``, here and in modules inside."""
        read = layer_dtype(dtype)
        cast: dict[int, Any] = {}
        for module in self.modules():
            for held in (module._parameters, module._buffers):
                for name, value in held.items():
                    if value is not None and value.dtype.kind not in "iub":
                        if id(value) not in cast:
                            cast[id(value)] = value, _cast(value, name, read)
                        held[name] = cast[id(value)][1]
        return self

    def float(self: M) -> M:
        """Cast floating point parameters and buffers to float32."""
        return self.to(np.float32)

    def double(self: M) -> M:
        """Cast floating point parameters and buffers to float64."""
        return self.to(np.float64)

    def half(self: M) -> M:
        """Cast floating point parameters and buffers to float16."""
        return self.to(np.float16)

    def __deepcopy__(self: M, memo: dict[int, Any]) -> M:
        """Copy the modules; the arrays, being immutable, are shared in memory."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for name, value in self.__dict__.items():
            if name in ("_parameters", "_buffers"):
                new.__dict__[name] = {key: _twin(item, memo) for key, item in value.items()}
            else:
                new.__dict__[name] = copy.deepcopy(value, memo)
        return new

    # Showing.

    def extra_repr(self) -> str:
        """Return what is between the brackets of the layer's repr."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        return _bracket(type(self).__name__, self.extra_repr(), lines)


def _cast(value: Any, name: str, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, Initial):
        return value.twin(dtype)
    return freeze(value, name, None, dtype)


def _twin(value: Any, memo: dict[int, Any]) -> Any:
    if value is not None and id(value) not in memo:
        twin = value.twin() if isinstance(value, Initial) else value.view(Parameter)
        memo[id(value)] = twin
    return memo.get(id(value))


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _bracket(name: str, extra: str, lines: list[str]) -> str:
    if not lines:
        return f"{name}({extra})"
    inner = "\n  ".join(([extra] if extra else []) + lines)
    return f"{name}(\n  {inner}\n)"
