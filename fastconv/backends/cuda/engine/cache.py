"""Cubins kept on disk: one file a kernel and architecture, named by all that went into it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path

from fastconv import kept, settings
from fastconv.backends.cuda.engine.compiler import Cubin, compile_kernel, toolchain
from fastconv.backends.cuda.engine.kernel import Kernel
from fastconv.backends.manifest import scalar_functions


def cubin_of(kernel: Kernel, arch: str) -> Cubin:
    """Return a kernel's machine code: from the disk, or compiled and kept there.

    What cannot be read, or is not what was written, is compiled; a folder that cannot be written
    is not an error.
    """
    path = _path(kernel, arch)
    found = _read(path)
    if found is None:
        found = compile_kernel(kernel, arch)
        _write(path, found)
    return found


def _path(kernel: Kernel, arch: str) -> Path:
    parts = (kernel.name, kernel.source, repr(kernel.signature), arch, toolchain(), _vocabulary())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return settings.cache_dir() / "cuda" / f"{kernel.name}-{arch}-{digest}.cubin"


@functools.cache
def _vocabulary() -> str:
    """Return a digest of the files that kernels are made from: their sources name these."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(__file__).parents[1].rglob("*.py")), Path(scalar_functions.__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> Cubin | None:
    """Read a file with distrust: nothing in it is run here."""
    rest = kept.read(path)
    if rest is None:
        return None
    head, _, code = rest.partition(b"\n")
    try:
        return Cubin(code=code, **json.loads(head))
    except (ValueError, TypeError):
        return None


def _write(path: Path, cubin: Cubin) -> None:
    told = {f.name: getattr(cubin, f.name) for f in dataclasses.fields(cubin) if f.name != "code"}
    kept.write(path, json.dumps(told).encode() + b"\n" + cubin.code)
