"""Networks in files of our own: written and read without another package, nothing executed."""

from fastconv.network.storage.file import SUFFIX, read_graph, write_graph
from fastconv.network.storage.record import record

__all__ = ["SUFFIX", "read_graph", "record", "write_graph"]
