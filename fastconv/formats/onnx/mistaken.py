"""Files that are given for ONNX models and are something else: what they are, and what to do."""

from __future__ import annotations

import os

# How a file begins, what it is then, and the way to a model.
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a pointer of git-lfs to a file that was not downloaded",
        "run `git lfs pull` in its repository, or download the file itself",
    ),
    (b"PK\x03\x04", "a zip archive", "unpack it; a PyTorch model is exported by torch.onnx.export"),
    (b"\x1f\x8b", "a file that gzip compressed", "decompress it first"),
    (b"BZh", "a file that bzip2 compressed", "decompress it first"),
    (b"\xfd7zXZ", "a file that xz compressed", "decompress it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (
        b"\x89HDF",
        "an HDF5 file, as Keras writes them",
        "export the model as ONNX, such as by tf2onnx",
    ),
    (b"\x93NUMPY", "an array that NumPy saved", "give the model that it belongs to"),
    (b"\x89PNG", "a picture", "give the model, and the picture as its input"),
    (b"\xff\xd8\xff", "a picture", "give the model, and the picture as its input"),
)
# The same behind the first four bytes, where flatbuffers name their kind.
_FLATBUFFERS = {
    b"TFL3": ("a TensorFlow Lite model", "convert it by tf2onnx --tflite"),
    b"ORTM": ("a model in onnxruntime's own format", "give the .onnx file that it was made from"),
}
_LOOKED_AT = 512


def mistaken(data: bytes) -> str | None:
    """Return what bytes are that begin so, and what to do; None: nothing that is known.

    Parameters
    ----------
    data : bytes
        The first some hundred of a file.
    """
    head = bytes(data[:_LOOKED_AT])
    if not head:
        return "it is empty: its download or its export ended early"
    for start, kind, cure in _KINDS:
        if head.startswith(start):
            return f"it is {kind}: {cure}"
    if head[4:8] in _FLATBUFFERS:
        kind, cure = _FLATBUFFERS[head[4:8]]
        return f"it is {kind}: {cure}"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "it is a pickle: export the model that it holds, such as by torch.onnx.export"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "it is a file of safetensors, which holds weights alone: export the model itself"
    return _text(head)


def _text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        return (
            "it is a web page or XML, not the file that was to be downloaded: open it to see what "
            "the server answered, and download the file itself"
        )
    if text[:1] in (b"{", b"[") and _is_text(head):
        return "it is JSON, perhaps a server's answer instead of the file: open it to see"
    if _is_text(head):
        return "it is text: a model in onnx's text form is read by onnx.parser, others are binary"
    return None


def _is_text(head: bytes) -> bool:
    try:
        words = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        words = head[: error.start].decode()
    return all(c.isprintable() or c in "\t\r\n\f" for c in words)


def is_path(data: bytes) -> str | None:
    """Return the path that bytes are, where they are one and no file's content; else None."""
    if not 0 < len(data) < 4096 or b"\0" in data or b"\n" in data or not _is_text(data):
        return None
    path = os.fsdecode(data)
    return path if path.endswith((".onnx", ".ort")) or os.path.exists(path) else None
