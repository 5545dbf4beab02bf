"""What tells one state of the plans from another: kernels built for other words must not be called.

The build of the C extension reads this file by itself: it imports nothing of ours. Every process
that uses the extension asks, so what is imported is light.
"""

from __future__ import annotations

import os
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))


def digest_of_plans() -> str:
    """Give a checksum of all that lays out argument blocks: the files beside this one."""
    checksum = 0
    for folder, folders, names in os.walk(HERE):
        folders.sort()
        for name in sorted(n for n in names if n.endswith(".py")):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read().replace(b"\r\n", b"\n")
            place = os.path.relpath(path, HERE).replace(os.sep, "/").encode()
            checksum = zlib.crc32(content, zlib.crc32(place, checksum))
    return f"{checksum:08x}"
