"""ONNX models as graphs: a reader, and translations a family a file."""

from fastconv.formats.onnx.reader import graph_of, read_onnx

__all__ = ["graph_of", "read_onnx"]
