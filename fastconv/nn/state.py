"""State dicts: a module's arrays under dotted names, out and in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fastconv.arrays import Array
from fastconv.dispatch import Parameter
from fastconv.nn.foreign import freeze, to_array
from fastconv.nn.initial import shown
from fastconv.problem import Shape
from fastconv.problem.values import flag

if TYPE_CHECKING:
    from fastconv.nn.module import Module

UNUSED = "num_batches_tracked"


def slots(module: Module, prefix: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (dotted name, store, name in the store) of all that is saved, as torch orders it."""
    for store in ("_parameters", "_buffers"):
        held = module.__dict__[store]
        for name, value in held.items():
            if value is not None and not (store == "_buffers" and name in module._unsaved):
                yield prefix + name, held, name
    for name, child in module._modules.items():
        if child is not None:
            yield from slots(child, f"{prefix}{name}.")


def entries(module: Module, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
    """Yield dotted names and parameters, drawing those that are not drawn yet."""
    for key, held, name in slots(module, prefix):
        yield key, shown(held, name)


def load(
    module: Module, state_dict: Mapping[str, Any], strict: bool
) -> tuple[list[str], list[str]]:
    """Replace what ``module`` saves by what ``state_dict`` holds: all of it, or on error nothing.

    Gives the missing and the unexpected keys.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"Expected state_dict to be dict-like, got {type(state_dict)}; "
            f"give a mapping of dotted names to arrays"
        )
    wanted = list(slots(module))
    keys = {key for key, _, _ in wanted}
    missing = [key for key in (k for k, _, _ in wanted) if key not in state_dict]
    missing = [key for key in missing if key.rpartition(".")[2] != UNUSED]
    unexpected = [key for key in state_dict if key not in keys]
    errors = [] if not flag(strict, "strict") else _key_errors(missing, unexpected)
    found: list[tuple[dict[str, Any], str, Any]] = []
    loaded: dict[int, Parameter] = {}
    for key, held, name in wanted:
        if key not in state_dict:
            continue
        old = held[name]
        array = _like(state_dict[key], key, old.shape)
        if tuple(array.shape) != tuple(old.shape):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {list(array.shape)} from "
                f"checkpoint, the shape in current model is {list(old.shape)}."
            )
        elif not errors:
            # Weights that are shared stay shared, and others do not become so.
            loaded[id(old)] = freeze(array, key, None, old.dtype).view(Parameter)
            found.append((held, name, old))
    if errors:
        raise ValueError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors)
        )
    for held, name, old in found:
        held[name] = loaded[id(old)]
    return missing, unexpected


def _like(given: Any, key: str, shape: Shape) -> Array:
    array: Array = given if isinstance(given, Parameter) else to_array(given, key)
    return array.reshape(()) if shape == () and array.shape == (1,) else array


def _key_errors(missing: list[str], unexpected: list[str]) -> list[str]:
    errors = []
    if unexpected:
        hint = ""
        if all(key.startswith("module.") for key in unexpected):
            hint = ' They start with "module.", as DataParallel saves them: take that away.'
        errors.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.{hint}")
    if missing:
        errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}.")
    return errors


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
