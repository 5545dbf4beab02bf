"""Files that are not ONNX models: the message says what each is, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import helper

import fastconv
from fastconv.onnx import InferenceSession

FILES: dict[str, tuple[bytes, str]] = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7\nsize 9\n",
        "lfs pull",
    ),
    "page": (b"<!DOCTYPE html>\n<html></html>", "web page"),
    "page with a mark": (b"\xef\xbb\xbf\n <html>", "web page"),
    "denial": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "web page or XML"),
    "answer": (b'{"error": "Repository not found"}', "JSON"),
    "text": ("Ein Text, nicht mehr: größer".encode(), "it is text"),
    "archive": (b"PK\x03\x04aaaaaaa", "zip archive"),
    "compressed": (b"\x1f\x8b\x08\x00aaaa", "decompress it"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + b"a" * 20, "HDF5"),
    "pickle": (b"\x80\x02}q\x00.", "pickle"),
    "lite": (b"\x1c\x00\x00\x00TFL3aaaaaaa", "TensorFlow Lite"),
    "ort": (b"\x18\x00\x00\x00ORTMaaaaa", "onnxruntime's own format"),
    "safetensors": (b'\x08\x00\x00\x00\x00\x00\x00\x00{"a":1} ', "safetensors"),
    "array": (b"\x93NUMPYaaaa", "NumPy"),
    "picture": (b"\x89PNG\r\n\x1a\naaa", "picture"),
    "nothing": (b"", "empty"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("way", ["load", "session", "bytes"])
def test_files_of_other_kinds_are_named_with_the_cure(name: str, way: str, tmp_path: Path) -> None:
    data, words = FILES[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    calls = {
        "load": lambda: fastconv.load(path),
        "session": lambda: InferenceSession(path),
        "bytes": lambda: fastconv.load(data),
    }
    with pytest.raises(ValueError, match=words) as caught:
        calls[way]()
    assert ("model.onnx" if way != "bytes" else "the bytes given") in str(caught.value)


@pytest.mark.parametrize("call", [fastconv.load, InferenceSession])
def test_paths_as_bytes_are_told_from_a_model(call: Any) -> None:
    with pytest.raises(ValueError, match=r"are a path: give it as a str, 'some/model\.onnx'"):
        call(b"some/model.onnx")


def test_more_than_2_gb_names_external_data(monkeypatch: Any) -> None:
    monkeypatch.setattr("fastconv.formats.onnx.reader._MOST_BYTES", 10)
    with pytest.raises(ValueError, match="external data"):
        fastconv.load(b"\xff" * 11)


@pytest.mark.parametrize("domain", ["my.company", "com.microsoft"])
def test_operators_that_nobody_defines_are_named_with_the_cure(domain: str) -> None:
    node = helper.make_node("Nonesuch", ["x"], ["y"], domain=domain, name="n1")
    ports = [[helper.make_tensor_value_info(name, 1, [2])] for name in "xy"]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    model = helper.make_model(
        helper.make_graph([node], "g", *ports), opset_imports=opsets, ir_version=8
    )
    with pytest.raises(ValueError, match=r"Nonesuch .*node n1.*no such operator") as caught:
        fastconv.load(model)
    assert "known functions" not in str(caught.value)
