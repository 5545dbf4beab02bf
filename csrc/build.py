"""What cffi builds: the binding, and the C sources with it."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from cffi import FFI

HERE = Path(__file__).parent
ROOT = HERE.parent
GENERATED = HERE / "generated"
# Those of the module `_objects`, which setup.py builds by itself.
OBJECTS = {"objects.c", "repeat.c"}
# Sums keep their order and products their roundings: no contraction, no reassociation.
SAFE = ["-ffp-contract=off", "-fno-math-errno"]
# Python's own flags ask for debug information: ten times the code. What a builder asks for holds.
GIVEN = os.environ.get("CFLAGS", "").split()
BARE = [] if "-g" in GIVEN else ["-g0"]
FAST = [] if any(flag.startswith("-O") for flag in GIVEN) else ["-O3"]
FLAGS = (
    ["/std:c11", "/O2", *(f"/clang:{flag}" for flag in SAFE)]
    if sys.platform == "win32"
    else ["-std=c11", *FAST, *SAFE, "-fvisibility=hidden", *BARE]
)


def write_all() -> list[str]:
    """Write what is generated; return the C files of the extension."""
    files = generated()
    GENERATED.mkdir(exist_ok=True)
    for path in GENERATED.glob("*.[ch]"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        path = GENERATED / name
        # What includes a file that changes is compiled again.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    written = [path.name for path in HERE.glob("*.c") if path.name not in OBJECTS]
    return sorted(written + [f"{GENERATED.name}/{name}" for name in files if name.endswith(".c")])


def generated() -> dict[str, str]:
    """Return the generated files by name.

    Their sources are modules of the package that import nothing but each other: they are imported
    without the packages that they are in, which need more than a build has.
    """
    names = ("fastconv", "fastconv.backends", "fastconv.backends.native", "fastconv.machine")
    for name in names:
        sys.modules[name] = module = ModuleType(name)
        module.__path__ = [str(ROOT / name.replace(".", "/"))]
    sys.path.insert(0, str(HERE))
    try:
        return import_module("generate").files()
    finally:
        sys.path.remove(str(HERE))
        for name in [n for n in sys.modules if n.split(".")[0] == "fastconv"]:
            del sys.modules[name]


SOURCES = write_all()
ffibuilder = FFI()
ffibuilder.cdef(
    """
    int64_t fastconv_find(const char *name);
    const char *fastconv_schema(void);
    int fastconv_permit_tiles(void);
    int fastconv_drive(int64_t stages_at, int64_t stage_count, int64_t block_at,
                       int64_t word_count, int64_t places_at, int64_t place_count,
                       const char *addresses, int64_t address_count, int64_t threads);
    """
)
ffibuilder.set_source(
    "fastconv.backends.c._native",
    '#include "fastconv.h"',
    sources=[f"{HERE.name}/{name}" for name in SOURCES],
    include_dirs=[HERE.name, f"{HERE.name}/{GENERATED.name}"],
    depends=[path.relative_to(ROOT).as_posix() for path in HERE.rglob("*.h")],
    extra_compile_args=FLAGS,
    # Named, or the loader takes the oldest version of each of its functions.
    libraries=[] if sys.platform == "win32" else ["m"],
    py_limited_api=True,
)
