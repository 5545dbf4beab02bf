"""ONNX models without their weights: what was taken out can be put back, damage is told alike."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv.dispatch import stored
from fastconv.dispatch.stored import StoredParameter
from fastconv.formats.onnx.lean import Lean, without_weights

onnx = pytest.importorskip("onnx", reason="these tests make ONNX models")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LEAST_BYTES", 1)
    monkeypatch.setattr(stored, "LEAST_FILE_BYTES", 0)


def lean_of(data: bytes) -> Lean | None:
    return without_weights(lambda offset, length: data[offset : offset + length], len(data))


def whole_of(lean: Lean, data: bytes) -> Any:
    """Put what was taken out back."""
    model = onnx.load_model_from_string(lean.data)
    for tensor in model.graph.initializer:
        if tensor.name in lean.weights:
            span = lean.weights[tensor.name]
            assert list(tensor.dims) == [0]
            assert not tensor.raw_data
            tensor.dims[:] = span.shape
            tensor.raw_data = data[span.offset : span.offset + span.nbytes]
    return model


@pytest.mark.usefixtures("nothing_is_small")
def test_a_model_is_its_lean_form_and_its_weights() -> None:
    from tests.onnx_suite import models

    several = {name: case.model for name, case in models().items() if case.model is not None}
    several |= {name: onnx.load(DIGITS / f"{name}.onnx") for name in ("lenet5", "convnet1")}
    taken = 0
    for name, model in several.items():
        data = model.SerializeToString()
        lean = lean_of(data)
        assert lean is not None, name
        assert whole_of(lean, data) == model, name
        taken += len(lean.weights)
        plain = [t for t in model.graph.initializer if t.raw_data and 0 not in t.dims]
        assert len(lean.weights) == len(plain), name
    assert taken > 20


def linear(weight: Any, **others: Any) -> Any:
    """Return a model of one weight ``w`` of (3, 4)."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
        "made",
        [value("x", TensorProto.FLOAT, ("n", 4))],
        [value("y", TensorProto.FLOAT, ("n", 3))],
        [weight],
        **others,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


W = np.arange(12, dtype="f4").reshape(3, 4)
X = np.ones((2, 4), "f4")


def field(number: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes([number * 8 + 2, len(payload)]) + payload


RAW, NAME = field(9, W.tobytes()), field(8, b"w")
DIMS, TYPE = b"\x08\x03\x08\x04", b"\x10\x01"
FORMS = {
    "plain": (DIMS + TYPE + NAME + RAW, True),
    "another order": (RAW + NAME + TYPE + DIMS, True),
    "dims in one field": (field(1, b"\x03\x04") + TYPE + RAW + NAME, True),
    "dims in both ways": (field(1, b"\x03") + b"\x08\x04" + TYPE + RAW + NAME, True),
    "long numbers": (b"\x08\x83\x80\x00\x88\x00\x84\x00" + TYPE + NAME + RAW, True),
    "a comment": (DIMS + TYPE + NAME + RAW + field(12, b"hello"), True),
    "raw bytes twice": (DIMS + TYPE + NAME + field(9, b"\0" * 48) + RAW, False),
    "a type twice": (DIMS + b"\x10\x07" + TYPE + NAME + RAW, False),
    "a field of no meaning": (DIMS + TYPE + NAME + RAW + field(15, b"?"), False),
    "numbers": (DIMS + TYPE + NAME + field(4, W.tobytes()), False),
}


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("form", FORMS)
def test_tensors_however_they_are_written(form: str, tmp_path: Path) -> None:
    """Protobuf leaves the order of fields, and the length of numbers, to who writes them."""
    tensor, plain = FORMS[form]
    model = linear(numpy_helper.from_array(W, "w"))
    del model.graph.initializer[:]
    graph = model.graph.SerializeToString() + field(5, tensor)
    model.ClearField("graph")
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7])
    data = model.SerializeToString() + b"\x3a" + length + graph
    lean = lean_of(data)
    assert lean is not None
    assert set(lean.weights) == ({"w"} if plain else set())
    path = tmp_path / "made.onnx"
    path.write_bytes(data)
    network = fastconv.load(path)
    kept: Any = network.function
    assert isinstance(kept.graph.constants["w"], StoredParameter) == plain
    np.testing.assert_array_equal(network(X), X @ W.T)
    np.testing.assert_array_equal(fastconv.load(data)(X), X @ W.T)


@pytest.mark.usefixtures("nothing_is_small")
def test_what_is_not_plain_is_left_to_onnx() -> None:
    short = numpy_helper.from_array(W, "w")
    short.raw_data = short.raw_data[:-1]
    long = numpy_helper.from_array(W, "w")
    long.raw_data += b"\0"
    negative = numpy_helper.from_array(W, "w")
    negative.dims[:] = [-3, -4]
    for weight in (short, long, negative):
        lean = lean_of(linear(weight).SerializeToString())
        assert lean is not None
        assert not lean.weights
    twice = linear(numpy_helper.from_array(W, "w"))
    twice.graph.initializer.append(numpy_helper.from_array(W, "w"))
    assert lean_of(twice.SerializeToString()) is None
    two = linear(numpy_helper.from_array(W, "w")).SerializeToString()
    assert lean_of(two + two) is None
    assert lean_of(two[:-1]) is None
    assert lean_of(two + b"\x07") is None
    assert lean_of(b"\xff" * 100) is None
    # A group: a kind of field that protobuf gave up.
    assert lean_of(two + b"\x3b\x3c") is None


def outcome(data: bytes) -> Any:
    try:
        return fastconv.load(data)(np.ones((1, 1, 28, 28), "f4")).tobytes()
    except (ValueError, TypeError) as error:
        return type(error), str(error)


def test_damage_is_told_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes around the weights are changed: either way of reading must give the same."""
    whole = (DIGITS / "convnet1.onnx").read_bytes()
    lean = lean_of(whole)
    assert lean is not None
    edges = [n for n in range(len(whole)) if n < 600 or n > len(whole) - 600]
    for span in lean.weights.values():
        edges += range(span.offset - 40, span.offset)
    draw = random.Random(5)
    told = set()
    for _ in range(150):
        data = bytearray(whole)
        for place in draw.sample(edges, draw.randint(1, 3)):
            data[place] = draw.choice((0, 1, 2, 127, 128, 255, draw.randrange(256)))
        results = []
        for least in (1, 1 << 40):
            monkeypatch.setattr(stored, "LEAST_BYTES", least)
            monkeypatch.setattr(stored, "LEAST_FILE_BYTES", 0 if least == 1 else least)
            results.append(outcome(bytes(data)))
        assert results[0] == results[1]
        told.add(type(results[0]))
    assert told == {bytes, tuple}


@pytest.mark.usefixtures("nothing_is_small")
def test_files_beside_a_model(tmp_path: Path) -> None:
    path, beside = tmp_path / "net.onnx", tmp_path / "data.bin"
    made = linear(numpy_helper.from_array(W, "w"))
    onnx.save(made, path, save_as_external_data=True, location="data.bin", size_threshold=0)
    network = fastconv.load(path)
    kept: Any = network.function
    assert isinstance(kept.graph.constants["w"], StoredParameter)
    held = fastconv.load(path, in_memory=True)
    beside.rename(tmp_path / "elsewhere.bin")
    np.testing.assert_array_equal(network(X), X @ W.T)
    beside.write_bytes(b"\0" * 48)
    other = fastconv.load(path)
    beside.write_bytes(b"\1" * 48)
    with pytest.raises(ValueError, match=r"data\.bin has changed since it was loaded"):
        other(X)
    np.testing.assert_array_equal(held(X), X @ W.T)
    beside.write_bytes(b"\1" * 47)
    with pytest.raises(ValueError, match=r"ends before its data do|out of range|too small"):
        fastconv.load(path)


@pytest.mark.usefixtures("nothing_is_small")
def test_memory_limits_hold_for_what_stays_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(linear(numpy_helper.from_array(W, "w")), path)
    with pytest.raises(ValueError, match=r"tensor 'w' cannot be read.*more than max_memory, 40"):
        fastconv.load(path, max_memory=40)


def _with_constants(case: Any) -> tuple[Any, list[Any]] | None:
    """Return a node test's model, inputs but the first made initializers, and what is fed."""

    def plain(value: Any) -> Any:
        return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value

    if case.model is None or not case.data_sets:
        return None
    model, fed = onnx.ModelProto(), []
    model.CopyFrom(case.model)
    inputs, values = list(model.graph.input), [plain(v) for v in case.data_sets[0][0]]
    del model.graph.input[:]
    for place, (value_info, value) in enumerate(zip(inputs, values, strict=False)):
        numbers = isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"
        tensor = value_info.type.WhichOneof("value") == "tensor_type"
        if place and numbers and tensor:
            model.graph.initializer.append(numpy_helper.from_array(value, value_info.name))
        else:
            model.graph.input.append(value_info)
            fed.append(value)
    return (model, fed) if model.graph.initializer else None


def _bits(call: Callable[[], Any]) -> Any:
    try:
        found = call()
    except (ValueError, TypeError) as error:
        return str(error)
    several = found if isinstance(found, tuple) else (found,)
    assert not any(isinstance(value, StoredParameter) for value in several)
    return [[np.asarray(v).tobytes() for v in (w if isinstance(w, list) else [w])] for w in several]


@pytest.mark.usefixtures("nothing_is_small")
def test_operators_take_constants_that_are_in_a_file(tmp_path: Path) -> None:
    """Every operator's constants: compiled, and run node by node."""
    from tests.onnx_suite import models

    cases, in_files = models(), 0
    path = tmp_path / "made.onnx"
    chosen = [n for n in sorted(cases) if not re.search("random|dropout|bernoulli", n)]
    for name in chosen[::9]:
        made = _with_constants(cases[name])
        if made is None:
            continue
        model, fed = made
        onnx.save(model, path)
        try:
            held = fastconv.load(path, in_memory=True)
        except ValueError:
            continue
        network = fastconv.load(path)
        kept: Any = network.function
        in_files += any(isinstance(v, StoredParameter) for v in kept.graph.constants.values())
        assert _bits(lambda n=network, x=fed: n(*x)) == _bits(lambda n=held, x=fed: n(*x)), name
        run: Any = held.function
        assert _bits(lambda f=kept, x=fed: f(*x)) == _bits(lambda f=run, x=fed: f(*x)), name
    assert in_files > 50
