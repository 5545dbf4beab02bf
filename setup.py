"""The C extension, which an install can do without; all other settings stand in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class optional_build_ext(build_ext):
    """Build the extension; where that fails, say so in one line and go on without it.

    ``FASTCONV_REQUIRE_C=1`` makes the failure an error.
    """

    def build_extension(self, ext: Any) -> None:
        try:
            if sys.platform == "win32":
                self._take_clang()
            compile_in_parallel(self.compiler)
            super().build_extension(ext)
        except Exception as error:
            if os.environ.get("FASTCONV_REQUIRE_C") == "1":
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"fastconv: the C extension is left out: {reason}", file=sys.stderr)

    def _take_clang(self) -> None:
        """Compile by clang in MSVC's clothes: the sources use vector extensions."""
        found = shutil.which("clang-cl")
        if found is None:
            raise OSError("there is no clang-cl, and MSVC has no vector extensions")
        self.compiler.initialize()
        self.compiler.cc = found

    def copy_extensions_to_source(self) -> None:
        self.extensions = [e for e in self.extensions if self._is_built(e)]
        super().copy_extensions_to_source()

    def _is_built(self, ext: Any) -> bool:
        name = self.get_ext_filename(self.get_ext_fullname(ext.name))
        return os.path.exists(os.path.join(self.build_lib, name))


def compile_in_parallel(compiler: Any) -> None:
    """Have a compiler compile its sources side by side."""
    compile_all = compiler.compile

    def compile_each(sources: list[str], *arguments: Any, **options: Any) -> list[str]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = pool.map(lambda s: compile_all([s], *arguments, **options), sources)
            return [name for names in made for name in names]

    compiler.compile = compile_each


# In CPython's stable ABI, as cffi's part is.
OBJECTS = Extension(
    "fastconv.backends.c._objects",
    ["csrc/objects.c", "csrc/repeat.c"],
    depends=["csrc/objects.h"],
    extra_compile_args=(
        [] if sys.platform == "win32" else ["-std=c11", "-O2", "-g0", "-fvisibility=hidden"]
    ),
    py_limited_api=True,
)

wanted = os.environ.get("FASTCONV_SKIP_C") != "1"
setup(
    cffi_modules=["csrc/build.py:ffibuilder"] if wanted else [],
    ext_modules=[OBJECTS] if wanted else [],
    cmdclass={"build_ext": optional_build_ext},
    # The extension keeps to the stable ABI: one wheel serves every CPython from this one on.
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if wanted else {},
)
