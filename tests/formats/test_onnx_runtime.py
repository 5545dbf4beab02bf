"""What surrounds a session: options, feeds, bindings, values, profiles, the file it writes."""

from __future__ import annotations

import copy
import json
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="these tests make ONNX models")

import onnx

import fastconv
import fastconv.onnx as ort
from fastconv.formats.onnx import errors

LENET = Path(__file__).resolve().parents[2] / "examples" / "digits" / "lenet5.onnx"
IMAGE = np.random.default_rng(5).random((2, 1, 28, 28), "f4")
FLOAT, INT32, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.STRING


def model_of(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: Any = (), ir: int = 8
) -> bytes:
    graph = onnx.helper.make_graph(nodes, "made", inputs, outputs, list(weights))
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("org.unknown", 1)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    return bytes(made.SerializeToString())


def identity(element: int, shape: Any = ("n",)) -> bytes:
    info = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    return model_of([node], [info("x", element, shape)], [info("y", element, shape)])


def adding(ir: int = 8) -> bytes:
    """A weight that is an input too."""
    info = onnx.helper.make_tensor_value_info
    weight = onnx.numpy_helper.from_array(np.ones(3, "f4"), "w")
    inputs = [info("x", FLOAT, ["n"]), info("w", FLOAT, [3])]
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    return model_of([node], inputs, [info("y", FLOAT, ["n"])], [weight], ir)


def session(options: Any = None, **rest: Any) -> ort.InferenceSession:
    return ort.InferenceSession(LENET, options, **rest)


# Options


def test_option_with_a_typo_is_an_attribute_error() -> None:
    for options in (ort.SessionOptions(), ort.RunOptions()):
        with pytest.raises(AttributeError, match="intra_op_threads"):
            options.intra_op_threads = 1  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="no option 'intra_op_threads'"):
        ort.SessionOptions(intra_op_threads=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("intra_op_num_threads", "3"), ("enable_profiling", 1), ("logid", 3),
     ("graph_optimization_level", 5), ("execution_mode", "ORT_PARALLEL")],
)  # fmt: skip
def test_option_of_another_type_is_a_type_error(name: str, value: Any) -> None:
    options = ort.SessionOptions()
    with pytest.raises(TypeError, match=name):
        setattr(options, name, value)
    assert options == ort.SessionOptions()


def test_options_pickle_and_copy_with_their_entries() -> None:
    options = ort.SessionOptions(intra_op_num_threads=2)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_free_dimension_override_by_name("batch", 2)
    for other in (pickle.loads(pickle.dumps(options)), copy.deepcopy(options)):
        assert other == options
        assert other.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert session(other).get_inputs()[0].shape == [2, 1, 28, 28]
    assert options != ort.SessionOptions(intra_op_num_threads=2)


def test_entry_that_was_not_added_is_an_error_of_both_kinds() -> None:
    for kind in (ValueError, RuntimeError):
        with pytest.raises(kind, match="no configuration entry 'any'"):
            ort.SessionOptions().get_session_config_entry("any")
    with pytest.raises(TypeError, match="two strings"):
        ort.SessionOptions().add_session_config_entry("a", 1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="1 to 1024 characters"):
        ort.RunOptions().add_run_config_entry("", "1")


def test_free_dimensions_are_fixed_by_name_and_by_denotation() -> None:
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_name("batch", 2)
    options.add_free_dimension_override_by_name("of no input", 9)
    fixed = session(options)
    assert fixed.get_inputs()[0].shape == [2, 1, 28, 28]
    assert fixed.get_outputs()[0].shape == [2, 10]
    np.testing.assert_array_equal(
        fixed.run(None, {"image": IMAGE})[0], session().run(None, {"image": IMAGE})[0]
    )
    with pytest.raises(errors.InvalidArgument, match="takes shape 2 x 1 x 28 x 28"):
        fixed.run(None, {"image": IMAGE[:1]})
    model = onnx.load(LENET)
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_denotation("DATA_BATCH", 3)
    before = model.SerializeToString()
    fixed = ort.InferenceSession(model, options)
    assert [a.shape[0] for a in (*fixed.get_inputs(), *fixed.get_outputs())] == [3, 3]
    assert model.SerializeToString() == before
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(errors.InvalidArgument, match="overridden by 3"):
        ort.InferenceSession(model, options)


def test_initializers_are_replaced() -> None:
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(LENET).graph.initializer}
    name = max(weights, key=lambda n: weights[n].size)
    options = ort.SessionOptions()
    options.add_initializer(name, ort.OrtValue.ortvalue_from_numpy(weights[name] * 2))
    model = onnx.load(LENET)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights[name] * 2, name))
    expected = ort.InferenceSession(model).run(None, {"image": IMAGE})[0]
    found = session(options).run(None, {"image": IMAGE})[0]
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, session().run(None, {"image": IMAGE})[0])
    for wrong, words in ((weights[name][:1], "but got"), (weights[name].astype("f8"), "float64")):
        options = ort.SessionOptions()
        options.add_external_initializers([name], [ort.OrtValue.ortvalue_from_numpy(wrong)])
        with pytest.raises(errors.InvalidArgument, match=words):
            session(options)
    options = ort.SessionOptions()
    options.add_initializer("unknown", ort.OrtValue.ortvalue_from_numpy(weights[name]))
    with pytest.raises(errors.InvalidArgument, match="no initializer 'unknown'"):
        session(options)


def test_library_of_custom_operators_is_refused_by_name() -> None:
    with pytest.raises(errors.Fail, match=r"ops\.so.*model function"):
        ort.SessionOptions().register_custom_ops_library("ops.so")


# The file that a session writes


@pytest.mark.parametrize("source", ["path", "bytes", "proto"])
@pytest.mark.parametrize("apart", [False, True])
def test_optimized_model_is_written_as_a_valid_model(
    tmp_path: Path, source: str, apart: bool
) -> None:
    given: Any = {"path": LENET, "bytes": LENET.read_bytes(), "proto": onnx.load(LENET)}[source]
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "out.onnx")
    options.add_free_dimension_override_by_name("batch", 2)
    if apart:
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "weights.bin"
        )
    expected = ort.InferenceSession(given, options).run(None, {"image": IMAGE})[0]
    onnx.checker.check_model(tmp_path / "out.onnx")
    assert (tmp_path / "weights.bin").exists() == apart
    again = ort.InferenceSession(tmp_path / "out.onnx")
    assert again.get_inputs()[0].shape == [2, 1, 28, 28]
    np.testing.assert_array_equal(again.run(None, {"image": IMAGE})[0], expected)
    onnxruntime = pytest.importorskip("onnxruntime", reason="it is the oracle")
    theirs = onnxruntime.InferenceSession(tmp_path / "out.onnx").run(None, {"image": IMAGE})[0]
    np.testing.assert_allclose(theirs, expected, rtol=1e-4, atol=1e-4)


def test_optimized_model_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "no folder" / "out.onnx")
    with pytest.raises(ValueError, match="optimized_model_filepath cannot be written"):
        session(options)
    own = tmp_path / "own.onnx"
    own.write_bytes(LENET.read_bytes())
    options.optimized_model_filepath = str(own)
    with pytest.raises(ValueError, match="the model's own file"):
        ort.InferenceSession(own, options)
    assert own.read_bytes() == LENET.read_bytes()


# Profiling


def test_profile_of_runs_has_the_times_of_each_node(tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "times")
    watched = session(options)
    expected = session().run(None, {"image": IMAGE})[0]
    for _ in range(2):
        np.testing.assert_array_equal(watched.run(None, {"image": IMAGE})[0], expected)
    path = Path(watched.end_profiling())
    assert path.name.startswith("times_")
    events = json.loads(path.read_text())
    runs = [e for e in events if e["name"] == "model_run"]
    nodes = [e for e in events if e["cat"] == "Node"]
    assert events[0]["name"] == "session_initialization"
    assert len(runs) == 2
    assert any(e["args"]["op_name"] == "conv" for e in nodes)
    assert all(e["args"]["algorithm"] for e in nodes)
    for run in runs:
        inside = [e for e in nodes if run["ts"] <= e["ts"] <= run["ts"] + run["dur"]]
        assert len(inside) == len(nodes) / 2
        assert 0 < sum(e["dur"] for e in inside) <= run["dur"]
    assert watched.end_profiling() == ""
    assert session().end_profiling() == ""
    watched.run(None, {"image": IMAGE})


def test_profile_of_a_network_that_looks_at_data_has_its_nodes(tmp_path: Path) -> None:
    info, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    nodes = [node("NonZero", ["x"], ["p"], name="where"), node("Neg", ["p"], ["y"], name="minus")]
    outputs = [info("y", onnx.TensorProto.INT64, ["r", "k"])]
    options = ort.SessionOptions(enable_profiling=True, profile_file_prefix=str(tmp_path / "t"))
    watched = ort.InferenceSession(model_of(nodes, [info("x", FLOAT, ["n"])], outputs), options)
    (y,) = watched.run(None, {"x": np.array([0, 2, 0, 3], "f4")})
    assert y.tolist() == [[-1, -3]]
    events = json.loads(Path(watched.end_profiling()).read_text())
    names = [e["name"] for e in events if e["cat"] == "Node"]
    assert names == ["where_kernel_time", "minus_kernel_time"]


# Feeds


def test_lists_become_arrays_of_the_inputs_dtype() -> None:
    ints = ort.InferenceSession(identity(INT32, ["n", 2]))
    (y,) = ints.run(None, {"x": [[1, 2], (3, np.int64(4))]})
    assert y.dtype == np.int32
    assert y.tolist() == [[1, 2], [3, 4]]
    floats = ort.InferenceSession(identity(FLOAT))
    assert floats.run(None, {"x": [1, 2.5]})[0].tolist() == [1, 2.5]
    assert floats.run(None, {"x": []})[0].dtype == np.float32
    words = ort.InferenceSession(identity(STRING))
    assert words.run(None, {"x": ["a", "bc"]})[0].tolist() == ["a", "bc"]
    for wrong, words_ in (([1.5], "does not hold"), ([1 << 40], "does not hold"),
                          ([[1], [2, 3]], "equal rows")):  # fmt: skip
        with pytest.raises(errors.InvalidArgument, match=words_):
            ort.InferenceSession(identity(INT32)).run(None, {"x": wrong})
    with pytest.raises(TypeError, match="takes float32, but got float64"):
        floats.run(None, {"x": np.array([1.0])})


def test_overridable_initializers_are_described() -> None:
    made = ort.InferenceSession(adding())
    assert made.get_overridable_initializers() == [ort.NodeArg("w", "tensor(float)", [3])]
    assert [a.name for a in made.get_inputs()] == ["x"]
    assert made.run(None, {"x": [1, 2, 3]})[0].tolist() == [2, 3, 4]
    assert ort.InferenceSession(adding(ir=3)).get_overridable_initializers() == []


def test_metadata_of_a_model_are_told() -> None:
    model = onnx.load_from_string(identity(FLOAT))
    onnx.helper.set_model_props(model, {"character": "a\nb\nc"})
    meta = ort.InferenceSession(model.SerializeToString()).get_modelmeta()
    assert meta.custom_metadata_map["character"].splitlines() == ["a", "b", "c"]
    assert meta.graph_name == "made"


# Errors


def test_errors_have_onnxruntimes_names(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_text("<!DOCTYPE html>")
    info, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    x, y = info("x", FLOAT, ["n"]), info("y", FLOAT, ["r", "k"])
    cases: list[tuple[Any, type[Exception]]] = [
        ("nowhere.onnx", errors.NoSuchFile),
        (bad, errors.InvalidProtobuf),
        (b"abc", errors.InvalidProtobuf),
        (model_of([node("Relu", ["x", "x"], ["y"])], [x], [y]), errors.InvalidGraph),
        (model_of([node("Foo", ["x"], ["y"])], [x], [y]), errors.InvalidGraph),
        (model_of([node("Foo", ["x"], ["y"], domain="org.unknown")], [x], [y]),
         errors.OperatorNotImplemented),
    ]  # fmt: skip
    for model, kind in cases:
        with pytest.raises(kind):
            ort.InferenceSession(model)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ort.InferenceSession("nowhere.onnx")
    with pytest.raises(errors.InvalidType, match="takes float32, but got float64"):
        session().run(None, {"image": IMAGE.astype("f8")})
    with pytest.raises(errors.InvalidArgument, match="no output 'other'"):
        session().run(["other"], {"image": IMAGE})
    shaped = ort.InferenceSession(
        model_of(
            [node("Reshape", ["x", "s"], ["y"], name="turn")],
            [x, info("s", onnx.TensorProto.INT64, ["k"])], [y],
        )
    )  # fmt: skip
    with pytest.raises(errors.Fail, match="turn"):
        shaped.run(None, {"x": np.ones(3, "f4"), "s": np.array([2, 2])})
    with pytest.raises(errors.Fail, match="terminate"):
        session().run(None, {"image": IMAGE}, ort.RunOptions(terminate=True))


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x18\0\0\0ORTM" + bytes(90), "own format"),
        (b"PK\x03\x04" + bytes(90), "a zip archive"),
    ],
)
def test_file_that_is_something_else_is_named(tmp_path: Path, begin: bytes, words: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(begin)
    for source in (path, begin):
        with pytest.raises(errors.InvalidProtobuf, match=words):
            ort.InferenceSession(source)
    with pytest.raises(ValueError, match=words):
        fastconv.load(path)


def test_exceptions_pickle() -> None:
    for kind in errors.EXCEPTIONS.values():
        again = pickle.loads(pickle.dumps(kind("some words")))
        assert type(again) is kind
        assert str(again) == "some words"


# Providers


@pytest.mark.parametrize(
    ("providers", "options"),
    [
        (None, None),
        ([], None),
        (["CPUExecutionProvider"], None),
        (("CPUExecutionProvider",), [{"threads": 1}]),
        ([("CPUExecutionProvider", {"a": 1})], None),
    ],
)
def test_providers_are_taken_in_every_form(providers: Any, options: Any) -> None:
    made = session(providers=providers, provider_options=options)
    assert made.get_providers() == made._providers == ["CPUExecutionProvider"]
    assert made.get_provider_options() == made._provider_options == {"CPUExecutionProvider": {}}


@pytest.mark.parametrize(
    ("providers", "options"),
    [
        (["CUDAExecutionProvider", "CPUExecutionProvider"], None),
        ([("CUDAExecutionProvider", {"device_id": 0})], None),
        (["CPUExecutionProvider"] * 2, None),
        (["CPUExecutionProvider"], [{}, {}]),
        ([3], None),
        ("CPUExecutionProvider", None),
    ],
)
def test_provider_that_is_not_there_is_warned_about(providers: Any, options: Any) -> None:
    with pytest.warns(UserWarning, match="provider"):
        made = session(providers=providers, provider_options=options)
    assert made.get_providers() == ["CPUExecutionProvider"]


def test_providers_are_set_later() -> None:
    made = session()
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        made.set_providers(["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(ValueError, match="no provider 'Unknown'"):
        made.set_providers(["Unknown"])
    made.disable_fallback()
    made.enable_fallback()
    assert made.get_providers() == ["CPUExecutionProvider"]


def test_calls_on_the_runtime_change_nothing() -> None:
    ort.disable_telemetry_events()
    ort.enable_telemetry_events()
    ort.set_default_logger_severity(3)
    ort.set_default_logger_verbosity(0)
    ort.set_seed(3)
    ort.preload_dlls(cuda=True)
    with pytest.raises(RuntimeError, match="severity must be from 0"):
        ort.set_default_logger_severity(5)
    assert ort.get_device() == "CPU"
    assert ort.get_version_string() == ort.__version__
    assert "CUDAExecutionProvider" in ort.get_all_providers()
    assert ort.get_available_providers() == ["CPUExecutionProvider"]


# Values and bindings


def test_values_are_made_updated_and_exchanged() -> None:
    array = np.arange(6, dtype="f4").reshape(2, 3)
    value = ort.OrtValue.ortvalue_from_numpy(array[:, ::2])
    assert value.numpy().flags.c_contiguous
    value.update_inplace(np.full((2, 2), 7, "f4"))
    assert value.numpy().tolist() == [[7, 7], [7, 7]]
    assert array[0, 0] == 0
    for wrong in (np.zeros((2, 2)), np.zeros(3, "f4"), [1]):
        with pytest.raises(RuntimeError):
            value.update_inplace(wrong)
    np.testing.assert_array_equal(np.from_dlpack(value), value.numpy())
    shared = ort.OrtValue.from_dlpack(array)
    assert shared.data_ptr() == array.ctypes.data
    zeros = ort.OrtValue.ortvalue_from_shape_and_type([2, 0, 3], np.int64)
    assert (zeros.shape(), zeros.data_type()) == ([2, 0, 3], "tensor(int64)")
    assert ort.OrtValue.ortvalue_from_shape_and_type([2], 1).data_type() == "tensor(float)"
    bits = np.array([0x3F80], "u2")
    brain = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)
    assert brain.data_type() == "tensor(bfloat16)"
    assert float(brain.numpy()[0]) == 1
    assert ort.OrtValue.ortvalue_from_numpy(np.array(2.0, "f4")).shape() == []
    for make in (
        lambda: ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0),
        lambda: ort.OrtValue.ortvalue_from_numpy([1]),
        lambda: ort.OrtValue.ortvalue_from_numpy(array.astype("c8")),
        lambda: ort.OrtValue.ortvalue_from_shape_and_type([2], "tensor(float)"),
        lambda: ort.OrtDevice.make("cuda", 0),
    ):
        with pytest.raises(RuntimeError):
            make()


def test_run_takes_and_returns_values() -> None:
    made = session()
    (expected,) = made.run(None, {"image": IMAGE})
    value = ort.OrtValue.ortvalue_from_numpy(IMAGE)
    (found,) = made.run_with_ort_values(None, {"image": value})
    np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(made.run(None, {"image": value})[0], expected)
    fetches: list[Any] = []
    made.run_with_ortvaluevector(None, ["image"], [value], ["logits"], fetches, None)
    np.testing.assert_array_equal(fetches[0].numpy(), expected)
    with pytest.raises(TypeError, match="must be an OrtValue"):
        made.run_with_ort_values(None, {"image": IMAGE})  # type: ignore[dict-item]


def test_binding_writes_outputs_where_they_are_bound() -> None:
    made = session()
    (expected,) = made.run(None, {"image": IMAGE})
    binding = made.io_binding()
    binding.bind_cpu_input("image", IMAGE)
    with pytest.raises(RuntimeError, match="bind an output first"):
        made.run_with_iobinding(binding)
    binding.bind_output("logits")
    binding.synchronize_inputs()
    made.run_with_iobinding(binding)
    binding.synchronize_outputs()
    np.testing.assert_array_equal(binding.get_outputs()[0].numpy(), expected)
    own = np.zeros_like(expected)
    binding.bind_output("logits", "cpu", 0, np.float32, own.shape, own.ctypes.data)
    binding.bind_input("image", "cpu", 0, np.float32, IMAGE.shape, IMAGE.ctypes.data)
    made.run_with_iobinding(binding, ort.RunOptions())
    np.testing.assert_array_equal(own, expected)
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[0], expected)
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(expected.shape), np.float32)
    binding.bind_ortvalue_input("image", ort.OrtValue.ortvalue_from_numpy(IMAGE))
    binding.bind_ortvalue_output("logits", value)
    made.run_with_iobinding(binding)
    np.testing.assert_array_equal(value.numpy(), expected)
    binding.clear_binding_inputs()
    with pytest.raises(ValueError, match="takes inputs image"):
        made.run_with_iobinding(binding)
    binding.clear_binding_outputs()
    assert binding.get_outputs() == []


def test_binding_to_other_memory_is_refused_and_writes_nothing() -> None:
    made = session()
    binding = made.io_binding()
    with pytest.raises(RuntimeError, match="no input 'other'"):
        binding.bind_cpu_input("other", IMAGE)
    with pytest.raises(RuntimeError, match="the CPU alone"):
        binding.bind_input("image", "cuda", 0, np.float32, IMAGE.shape, IMAGE.ctypes.data)
    with pytest.raises(RuntimeError, match="the CPU alone"):
        binding.bind_output("logits", "cuda")
    with pytest.raises(RuntimeError, match="address"):
        binding.bind_output("logits", "cpu", 0, np.float32, [2, 10], 0)
    binding.bind_cpu_input("image", IMAGE)
    for own in (np.full((2, 9), 3, "f4"), np.full((2, 10), 3, "f8")):
        binding.bind_output("logits", "cpu", 0, own.dtype, own.shape, own.ctypes.data)
        with pytest.raises(RuntimeError, match="is bound to"):
            made.run_with_iobinding(binding)
        assert (own == 3).all()


def test_async_run_calls_back_with_results_or_words() -> None:
    made = session()
    (expected,) = made.run(None, {"image": IMAGE})
    calls: list[Any] = []
    done = threading.Semaphore(0)

    def back(results: list[Any], user_data: Any, words: str) -> None:
        calls.append((results, user_data, words))
        done.release()

    made.run_async(["logits"], {"image": IMAGE}, back, "mine")
    assert done.acquire(timeout=60)
    results, user_data, words = calls.pop()
    np.testing.assert_array_equal(results[0], expected)
    assert (user_data, words) == ("mine", "")
    made.run_async(["other"], {"image": IMAGE}, back, 7)
    assert done.acquire(timeout=60)
    results, user_data, words = calls.pop()
    assert (results, user_data) == ([], 7)
    assert "no output 'other'" in words
    with pytest.raises(ValueError, match="inputs image are missing"):
        made.run_async(None, {}, back, None)
    with pytest.raises(TypeError, match="callback"):
        made.run_async(None, {"image": IMAGE}, None, None)  # type: ignore[arg-type]


# Copies


def test_sessions_pickle_and_copy() -> None:
    options = ort.SessionOptions(intra_op_num_threads=1, enable_profiling=True)
    made = session(options)
    (expected,) = made.run(None, {"image": IMAGE})
    for other in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made), copy.copy(made)):
        np.testing.assert_array_equal(other.run(None, {"image": IMAGE})[0], expected)
        assert other.get_inputs() == made.get_inputs()
        assert other.get_session_options() == options
        assert other.get_modelmeta() == made.get_modelmeta()


def test_models_are_taken_in_every_form() -> None:
    data = LENET.read_bytes()
    (expected,) = session().run(None, {"image": IMAGE})
    for model in (str(LENET), LENET, data, bytearray(data), memoryview(data), onnx.load(LENET)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = fastconv.InferenceSession(model).run(None, {"image": IMAGE})[0]
        np.testing.assert_array_equal(found, expected)
