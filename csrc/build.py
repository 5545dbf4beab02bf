"""What cffi builds: the binding, and the C sources with it."""

from __future__ import annotations

import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = ("driver.c", "table.c", "isa_generic.c", "isa_avx2.c", "isa_avx512.c")
# Sums keep their order and products their roundings: no contraction, no reassociation.
FLAGS = (
    ["/std:c11", "/O2"]
    if sys.platform == "win32"
    else ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
)

ffibuilder = FFI()
ffibuilder.cdef(
    """
    int64_t fastconv_find(const char *name);
    void fastconv_drive(int64_t stages_at, int64_t stage_count, int64_t words_at,
                        int64_t places_at, int64_t place_count, int64_t addresses_at,
                        int64_t address_count, int64_t threads);
    """
)
ffibuilder.set_source(
    "fastconv.backends.c._native",
    '#include "fastconv.h"',
    sources=[f"{HERE.name}/{name}" for name in SOURCES],
    include_dirs=[HERE.name],
    depends=[f"{HERE.name}/{path.name}" for path in HERE.glob("*.h")],
    extra_compile_args=FLAGS,
    py_limited_api=True,
)
