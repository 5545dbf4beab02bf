"""Scripts run in processes of their own, for what would end or change the one that tests."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

# A script that takes so long hangs.
SECONDS = 100


def start_script(code: str, *, options: tuple[str, ...] = ("-W", "error"), **variables: str) -> Any:
    """Start a script; variables that are empty are taken out of the environment."""
    environment = {k: v for k, v in {**os.environ, **variables}.items() if v or k not in variables}
    return subprocess.Popen(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_script(
    code: str,
    *,
    options: tuple[str, ...] = ("-W", "error"),
    seconds: int = SECONDS,
    **variables: str,
) -> str:
    """Run a script to its good end, and give what it printed."""
    process = start_script(code, options=options, **variables)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"it hangs; it had said {out[-500:]!r}, {err[-2000:]}") from None
    assert process.returncode == 0, f"it ended with {process.returncode}: {err[-3000:]}"
    return str(out)
