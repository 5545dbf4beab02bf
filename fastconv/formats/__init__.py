"""Foreign models as networks: `load` chooses the reader by the file's suffix."""

from __future__ import annotations

import os
from pathlib import Path

from fastconv.network import Network


def load(path: str | os.PathLike[str]) -> Network:
    """Read a trained network from a file.

    Parameters
    ----------
    path : str or path
        An ONNX model (.onnx), opset 7 or later; needs the extra ``fastconv[onnx]``.

    Raises
    ------
    ValueError
        For a file that is missing, truncated, of another kind, or that holds operators which are
        not supported: these are named, all at once.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    if file.suffix != ".onnx":
        raise ValueError(f"cannot tell what {file} is: models are read from .onnx files")
    from fastconv.formats.onnx import read_onnx

    return read_onnx(file)


__all__ = ["load"]
