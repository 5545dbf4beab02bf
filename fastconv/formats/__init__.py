"""Models in files as networks: `load` chooses the reader by the file's suffix."""

from __future__ import annotations

import os
from typing import Any

from fastconv import settings
from fastconv.network import Network
from fastconv.network.network import check_max_memory
from fastconv.problem.values import flag


def load(
    path: str | os.PathLike[str] | bytes | Any,
    *,
    max_memory: int | None = None,
    in_memory: bool = False,
) -> Network:
    """Read a trained network.

    Parameters
    ----------
    path : str, path, bytes or onnx.ModelProto
        A file that `Network.save` wrote (.fastconv), or an ONNX model (.onnx) of any opset: its
        file, that file's bytes, or the model itself. ONNX needs the extra ``fastconv[onnx]``.
    max_memory : int, optional
        Bytes that the weights, and the values of a run, may take; the memory that this process
        may use where not given. What would take more is refused before it is allocated.
    in_memory : bool
        Read all weights now. Otherwise large ones (from 64 KB on, of files from 1 MB on) are read
        when the network first meets inputs of a shape, and are not kept in addition to what is
        packed from them. The file stays open for that: it may be renamed, replaced or deleted, but
        where it is changed in place (as ``open(path, "wb")`` does), a shape that is new afterwards
        ends in a ValueError. On Windows, and where the model is not a file, all are read now
        anyway.

    Returns
    -------
    Network
        ``fallbacks`` tells which nodes onnx's own reference runs, since fastconv does not.

    Raises
    ------
    ValueError
        For a file that is missing, truncated, of another kind, or that holds operators which
        neither fastconv nor onnx's reference runs: these are named, all at once.
    """
    check_max_memory(max_memory)
    flag(in_memory, "in_memory")
    if isinstance(path, (str, os.PathLike)):
        file = settings.existing_file(path, "path")
        if file.suffix == ".fastconv":
            from fastconv.network.storage import read_graph

            graph = read_graph(file, max_memory=max_memory, in_memory=in_memory)
            return Network.from_graph(graph, max_memory=max_memory)
        if file.suffix != ".onnx":
            raise ValueError(
                f"cannot tell what {file} is: models are read from .onnx files, and networks that "
                f"were saved from .fastconv files"
            )
    from fastconv.formats.onnx import read_onnx

    return read_onnx(path, max_memory=max_memory, in_memory=in_memory)


__all__ = ["load"]
