"""With this folder on PYTHONPATH, Python and its children find no C extension."""

import sys

sys.modules["fastconv.backends.c._native"] = None  # type: ignore[assignment]
