"""What tells one state of the plans from another: kernels built for other words must not be called.

The build of the C extension reads this file by itself: it imports nothing of ours.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

HERE = Path(__file__).parent


def digest_of_plans() -> str:
    """Give a digest of all that lays out argument blocks: the files beside this one."""
    digest = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        digest.update(path.relative_to(HERE).as_posix().encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
