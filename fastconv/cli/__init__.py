"""The command line: ``fastconv run | bench | summary | explain | profile | tune | info``."""

from fastconv.cli.main import main

__all__ = ["main"]
