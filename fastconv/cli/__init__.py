"""The command line: ``fastconv run | compare | bench | summary | explain | profile | tune``."""

from fastconv.cli.main import main

__all__ = ["main"]
