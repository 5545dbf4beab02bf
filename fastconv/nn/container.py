"""Modules that hold modules: in a row, in a list, by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from fastconv.nn.module import Module
from fastconv.problem.values import is_sequence, shown


class _Row(Module):
    """Modules under the names "0", "1", ...: what Sequential and ModuleList share."""

    def _place(self, index: int) -> str:
        """Return the name at an index, which may count from the end."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range")
        return [*map(str, self._modules)][index]

    def _take(self, chosen: list[Module]) -> Any:
        return type(self)(*chosen)

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Any: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._take(list(self)[index])
        return self._modules[self._place(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._place(index), module)

    def __delitem__(self, index: int | slice) -> None:
        names = list(self._modules)
        gone = {*names[index]} if isinstance(index, slice) else {self._place(index)}
        kept = [(name, module) for name, module in self._modules.items() if name not in gone]
        self._modules.clear()
        for number, (name, module) in enumerate(kept):
            self._modules[str(number) if name.isdigit() else name] = module

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))

    def append(self, module: Module) -> Any:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end."""
        if not is_sequence(modules) and not isinstance(modules, Module):
            raise TypeError(f"modules must be a sequence of Modules, not {shown(modules)}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put a module before the one at ``index``."""
        if not isinstance(module, Module):
            raise TypeError(f"{module!r} is not a Module")
        modules = list(self)
        modules.insert(index, module)
        self._modules.clear()
        return self.extend(modules)


class Sequential(_Row):
    """Modules that run one after the other, given in order or in one dict of names."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            self.extend(args)

    def _take(self, chosen: list[Module]) -> Sequential:
        names = {id(module): name for name, module in self._modules.items()}
        if all(name.isdigit() for name in names.values()):
            return Sequential(*chosen)
        return Sequential({names[id(module)]: module for module in chosen})

    def forward(self, input: Any) -> Any:
        """Run the modules in order."""
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_Row):
    """Modules in a list; it has no ``forward`` of its own."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def _take(self, chosen: list[Module]) -> ModuleList:
        return ModuleList(chosen)


class ModuleDict(Module):
    """Modules by name; it has no ``forward`` of its own."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, key: str) -> Module:
        module: Module = self._modules[key]
        return module

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """Return the names."""
        keys: Iterable[str] = self._modules.keys()
        return keys

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        values: Iterable[Module] = self._modules.values()
        return values

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return names and modules."""
        items: Iterable[tuple[str, Module]] = self._modules.items()
        return items

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or replace those of the same names."""
        try:
            named = dict(modules)
        except (TypeError, ValueError):
            raise TypeError(f"modules must be Modules by name, not {shown(modules)}") from None
        for name, module in named.items():
            self.add_module(name, module)

    def pop(self, key: str) -> Module:
        """Take a module out."""
        module: Module = self._modules.pop(key)
        return module

    def clear(self) -> None:
        """Take all modules out."""
        self._modules.clear()
