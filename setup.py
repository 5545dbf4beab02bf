"""The C extension, which an install can do without; all other settings stand in pyproject.toml."""

from __future__ import annotations

import os
import sys
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext


class optional_build_ext(build_ext):
    """Build the extension; where that fails, say so in one line and go on without it.

    ``FASTCONV_REQUIRE_C=1`` makes the failure an error.
    """

    def build_extension(self, ext: Any) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            if os.environ.get("FASTCONV_REQUIRE_C") == "1":
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"fastconv: the C extension is left out: {reason}", file=sys.stderr)

    def copy_extensions_to_source(self) -> None:
        self.extensions = [e for e in self.extensions if self._is_built(e)]
        super().copy_extensions_to_source()

    def _is_built(self, ext: Any) -> bool:
        name = self.get_ext_filename(self.get_ext_fullname(ext.name))
        return os.path.exists(os.path.join(self.build_lib, name))


wanted = os.environ.get("FASTCONV_SKIP_C") != "1"
setup(
    cffi_modules=["csrc/build.py:ffibuilder"] if wanted else [],
    cmdclass={"build_ext": optional_build_ext},
)
