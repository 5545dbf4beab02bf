"""With this folder on PYTHONPATH, Python and its children find no Numba."""

import sys

sys.modules["numba"] = sys.modules["llvmlite"] = None  # type: ignore[assignment]
