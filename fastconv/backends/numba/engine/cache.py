"""Compiled code kept on disk: one file a kernel, named by all that went into it.

Numba's own cache keeps an index that processes overwrite for each other and knows a function by
its own file's date alone. Here a file's name is the hash of the family, its constants, the
sources of the whole backend, the CPU and the versions; it is written aside and moved into place,
so that any number of processes may start at once. What cannot be read or written is compiled, and
so is what another user can have written (`fastconv.kept`): what is read here is run.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import compiler
from numba.core.caching import _Cache
from numba.core.serialize import dumps

from fastconv import kept, settings

BACKENDS = Path(__file__).parent.parent.parent
FOLDERS = ("manifest", "native", "numba")


@functools.cache
def _source_stamp() -> str:
    """Hash the sources of the folders that kernels are made from: any may change any kernel.

    Kernels hold numbers that the plans' files work out, such as coefficients.
    """
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((BACKENDS / folder).rglob("*.py")):
            digest.update(path.relative_to(BACKENDS).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


class DiskCache(_Cache):
    """The cache of one compiled function, as Numba's compilers want it."""

    def __init__(self, name: str, constants: tuple[Any, ...]) -> None:
        self._name = name
        self._constants = repr(constants)

    @property
    def cache_path(self) -> str:
        return str(settings.cache_dir() / "numba")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function, or None when there is none that can be used."""
        target_context.refresh()
        payload = kept.read(self._path(sig, target_context.codegen()))
        if payload is None:
            return None
        try:
            return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
        except Exception:  # whatever is wrong with a cache file, the kernel is compiled again
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the compiled function; a folder that cannot be written is not an error."""
        kept.write(self._path(sig, data.codegen), dumps(data._reduce()))

    def enable(self) -> None:
        """Do nothing: this cache is always on."""

    def disable(self) -> None:
        """Do nothing: this cache is always on."""

    def flush(self) -> None:
        """Do nothing: files are named by their content's sources."""

    def _path(self, sig: Any, codegen: Any) -> Path:
        parts = (
            self._name,
            self._constants,
            str(sig),
            str(codegen.magic_tuple()),
            _source_stamp(),
            sys.version,
            numba.__version__,
            llvmlite.__version__,
        )
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
        return Path(self.cache_path) / f"{self._name}-{digest}.nbc"
