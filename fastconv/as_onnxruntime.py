"""``python -m fastconv.as_onnxruntime program.py``: a program with fastconv as its onnxruntime.

The program and all packages that it imports find fastconv under the name onnxruntime (see
`fastconv.onnx.install`). ``-m module`` runs a module instead of a file.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

_USAGE = "usage: python -m fastconv.as_onnxruntime (program.py | -m module) [arguments]"


def main(arguments: Sequence[str]) -> None:
    """Run a program by its command line.

    Raises
    ------
    SystemExit
        With 2 where no program is named.
    """
    is_module = arguments[:1] == ["-m"]
    given = list(arguments[1:] if is_module else arguments)
    if not given or (not is_module and given[0].startswith("-")):
        print(_USAGE, file=sys.stderr)
        raise SystemExit(2)
    from fastconv.onnx import install

    install()
    sys.argv = given
    if is_module:
        # As `python -m` does: the module is looked for from the current folder on.
        sys.path[0] = os.getcwd()
        runpy.run_module(given[0], run_name="__main__", alter_sys=True)
        return
    sys.path[0] = os.path.dirname(os.path.realpath(given[0]))
    runpy.run_path(given[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
