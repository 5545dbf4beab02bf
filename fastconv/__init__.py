"""Convolutional networks forward, from Python, at the speed of the hardware."""

from fastconv._version import __version__
from fastconv.functional import *  # noqa: F403
from fastconv.settings import get_num_threads, set_num_threads

__all__ = ["__version__", "get_num_threads", "set_num_threads"]
