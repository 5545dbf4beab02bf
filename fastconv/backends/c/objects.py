"""Calls as Python objects: what the extension module `_objects` does faster than Python can.

It reads NumPy's arrays as its binary interface lays them out, after a look whether they are so.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastconv import settings
from fastconv.backends.native.addresses import address_of
from fastconv.backends.native.arena import take_address
from fastconv.backends.native.driver import ArrayDriver

# Of the extension's functions: one that was built for others is not used.
VERSION = 5

KeyOf = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Functions(NamedTuple):
    """What the extension does, or None where it is missing.

    ``run`` is a driver of programs on arrays.
    ``key_of`` returns a call's key, arrays, out and first parameter, from a state, arguments and
    options; None for what is out of the ordinary.
    ``repeats`` makes a table of calls that run whole without Python (csrc/repeat.c).
    """

    run: ArrayDriver | None = None
    key_of: KeyOf | None = None
    repeats: Callable[[], Any] | None = None


def _module() -> Any:
    return importlib.import_module("fastconv.backends.c._objects")


@functools.cache
def functions() -> Functions:
    """Return the extension's functions, where it exists and reads arrays right."""
    try:
        module = _module()
        native = importlib.import_module("fastconv.backends.c._native")
    except ImportError:
        return Functions()
    version = getattr(module, "version", None)
    if version is None or version() != VERSION:
        return Functions()
    if not all(_is_read_right(module, probe) for probe in _probes()):
        return Functions()
    drive = int(native.ffi.cast("intptr_t", native.ffi.addressof(native.lib, "fastconv_drive")))
    module.begin(np.ndarray, drive)
    repeats = module.Repeats if _can_repeat(module) else None
    return Functions(module.run, module.key_of, repeats)


def _can_repeat(module: Any) -> bool:
    """Have whole calls repeated by the extension; whether this NumPy and this Python can."""
    environment, names, contexts = settings.watched()
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    interface = getattr(importlib.import_module(f"{core}._multiarray_umath"), "_ARRAY_API", None)
    if type(environment) is not dict or interface is None:
        return False
    looked_at = (environment, names, contexts, settings.state, settings.get_num_threads)
    return bool(module.begin_repeats(interface, *looked_at, take_address))


@contextlib.contextmanager
def repeats_paused() -> Iterator[None]:
    """Leave repeated calls to Python in this context, for who watches or changes them there."""
    global _pauses
    module = _module() if functions().repeats is not None else None
    _pauses += 1
    try:
        if module is not None:
            module.pause_repeats(True)
        yield
    finally:
        _pauses -= 1
        if module is not None:
            module.pause_repeats(_pauses > 0)


_pauses = 0


def know_parameters(parameter: type) -> None:
    """Have ``key_of`` take arrays of this class for parameters that keep their calls."""
    if functions().key_of is not None:
        _module().know_parameters(parameter)


def _probes() -> list[np.ndarray[Any, Any]]:
    whole = np.zeros((2, 3, 5), np.float32)
    return [whole, whole[:, 1:], np.zeros((), ">f8"), np.zeros(7, np.int64), whole.T]


def _is_read_right(module: Any, array: np.ndarray[Any, Any]) -> bool:
    data, shape, flags, kind, order, number = module.describe(array)
    dtype = array.dtype
    return bool(
        data == address_of(array)
        and shape == array.shape
        and flags & 0x501 == array.flags.num & 0x501
        and (kind, order, number) == (dtype.kind, dtype.byteorder, dtype.num)
    )
