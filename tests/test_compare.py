"""``fastconv compare``: right and wrong models, every exit status, inputs, tolerances."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="compare reads ONNX models")

import onnx

from fastconv import functional
from fastconv.cli import main
from fastconv.cli.agreement import Tolerance, compare_values
from fastconv.cli.compare import _compare_inner
from fastconv.network import operations

LENET = str(Path(__file__).resolve().parent.parent / "examples" / "digits" / "lenet5.onnx")
HAS_ORT = importlib.util.find_spec("onnxruntime") is not None
PEERS = [
    pytest.param("onnxruntime", marks=pytest.mark.skipif(not HAS_ORT, reason="no onnxruntime")),
    "reference",
]
FLOAT, INT64, STRING = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.STRING
INFO, NODE = onnx.helper.make_tensor_value_info, onnx.helper.make_node
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: its exit status, what it prints, its errors."""

    def runs(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fastconv", "compare", *arguments])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return runs


def saved(
    folder: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any],
    weights: Sequence[Any] = (), **rest: Any,
) -> str:  # fmt: skip
    graph = onnx.helper.make_graph(nodes, "made", inputs, outputs, weights)
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("own", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10, **rest)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return str(path)


def weight(name: str, *shape: int) -> Any:
    values = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    return onnx.numpy_helper.from_array(values, name)


def chain(folder: Path, **rest: Any) -> str:
    """Conv, Tanh, Sigmoid and Neg, of open batch and size."""
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], "conv"), NODE("Tanh", ["a"], ["b"], "tanh"),
        NODE("Sigmoid", ["b"], ["c"], "sigmoid"), NODE("Neg", ["c"], ["y"], "neg"),
    ]  # fmt: skip
    inputs = [INFO("x", FLOAT, ["n", 3, "h", "w"])]
    outputs = [INFO("y", FLOAT, ["n", 4, None, None])]
    return saved(folder, nodes, inputs, outputs, [weight("w", 4, 3, 3, 3)], **rest)


def shown(run: Run, *arguments: str, status: int = 0) -> Any:
    found, out, err = run(*arguments, "--json")
    assert found == status, out + err
    return json.loads(out)


# Right and wrong models


@pytest.mark.parametrize("peer", PEERS)
def test_compare_of_a_right_model_agrees_in_outputs_and_layers(run: Run, peer: str) -> None:
    status, out, err = run(LENET, "--with", peer, "--layers")
    assert (status, err) == (0, "")
    assert "image 1x1x28x28" in out
    assert out.count(" ok\n") == 1 + 12
    assert out.endswith("all values agree\n")
    found = shown(run, LENET, "--with", peer, "--layers", "--shape", "image=3x1x28x28")
    assert found["agrees"]
    assert found["first_difference"] is None
    for row in (*found["outputs"], *found["layers"]):
        assert row["shape"][0] == 3
        assert 0 <= row["mean_relative"] <= row["max_relative"] < row["rtol"]


@pytest.mark.parametrize("peer", PEERS)
def test_compare_of_a_wrong_operation_names_its_node_and_exits_with_1(
    run: Run, peer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = chain(tmp_path)
    arguments = (path, "--with", peer, "--shape", "x=2x3x8x8")
    assert run(*arguments)[0] == 0
    monkeypatch.setitem(operations.OPERATIONS, "tanh", lambda x: functional.relu(x))
    status, out, _ = run(*arguments)
    assert status == 1
    assert "1 of 1 values differ" in out
    assert "tanh" not in out
    status, out, _ = run(*arguments, "--layers")
    assert status == 1
    marked = [line.split() for line in out.splitlines() if line.startswith(">")]
    assert [line[:4] for line in marked] == [[">", "tanh", "Tanh", "b"]]
    assert "first difference: node tanh (Tanh), value b: " in out
    found = shown(run, *arguments, "--layers", status=1)
    verdicts = {row["value"]: row["agrees"] for row in found["layers"]}
    assert verdicts == {"a": True, "b": False, "c": False, "y": False}
    assert found["first_difference"]["operator"] == "Tanh"


def test_compare_of_what_only_fusing_makes_wrong_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fastconv.network import executor

    path = chain(tmp_path)
    right = executor.Executor.run

    def wrong(self: Any, *inputs: Any) -> Any:
        found = right(self, *inputs)
        return [value + 1 for value in found] if len(found) == 1 else found

    monkeypatch.setattr(executor.Executor, "run", wrong)
    status, out, _ = run(path, "--with", "reference", "--shape", "x=1x3x5x5", "--layers")
    assert status == 1
    assert "no node differs where its output is asked for" in out


def test_compare_tolerances_decide_the_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = (chain(tmp_path), "--with", "reference", "--shape", "x=1x3x8x8")
    # Results are from 0.26 to 0.74, so that errors are from 0.00026 to 0.00074.
    wrong = {"sigmoid": lambda x: functional.sigmoid(x) * 1.001}
    monkeypatch.setattr(operations, "OPERATIONS", operations.OPERATIONS | wrong)
    assert run(*arguments)[0] == 1
    assert run(*arguments, "--rtol", "0.0011")[0] == 0
    assert run(*arguments, "--rtol", "0.0009", "--atol", "0")[0] == 1
    assert run(*arguments, "--rtol", "0", "--atol", "0.0008")[0] == 0
    assert run(*arguments, "--rtol", "0", "--atol", "0.0002")[0] == 1


def test_compare_where_one_engine_lacks_a_value_compares_the_others() -> None:
    class Lacking:
        name = "other"

        def run(self, names: Any, feeds: Any) -> list[Any]:
            if "c" in names:
                raise ValueError("c cannot be returned")
            return [np.float32(ord(name)) for name in names]

    found = list(
        _compare_inner("abcde", [Lacking()] * 2, {}, lambda name: Tolerance(), 1 << 20, None)
    )
    assert [name for name, _ in found] == list("abcde")
    assert [one.agrees for _, one in found] == [True, True, False, True, True]
    assert found[2][1].note == "c cannot be returned"


def test_compare_of_layers_holds_no_more_than_the_limit() -> None:
    taken = []

    class Counting:
        name = "counting"

        def run(self, names: Any, feeds: Any) -> list[Any]:
            taken.append(len(names))
            return [np.zeros(1000, np.uint8) for _ in names]

    names = [f"v{i}" for i in range(200)]
    engines = [Counting(), Counting()]
    found = list(_compare_inner(names, engines, {}, lambda name: Tolerance(), 40_000, None))
    assert [name for name, _ in found] == names
    assert all(one.agrees for _, one in found)
    # After the first 16: 20 values of both engines fit.
    assert taken[::2] == [16, *[20] * 9, 4]
    taken.clear()
    list(_compare_inner(names, engines, {}, lambda name: Tolerance(), 1 << 30, None))
    assert taken[::2] == [16, 128, 56]


# Exit status 2


def test_compare_without_onnxruntime_says_how_to_install_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, out, err = run(LENET)
    assert (status, out) == (2, "")
    assert "pip install onnxruntime" in err
    assert "--with reference" in err
    assert run(LENET, "--with", "reference", "--layers")[0] == 0


def test_compare_refuses_fastconv_in_the_place_of_onnxruntime(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fastconv.onnx

    monkeypatch.setitem(sys.modules, "onnxruntime", fastconv.onnx)
    status, _, err = run(LENET)
    assert status == 2
    assert "in onnxruntime's place" in err


BAD = [
    ("there is no file nowhere.onnx", ["nowhere.onnx"]),
    ("takes an ONNX model", [__file__]),
    ("there is no input 'x'; there are image", [LENET, "--shape", "x=1x1x28x28"]),
    ("--shape takes a name and sizes", [LENET, "--shape", "1x1x28x28"]),
    ("--shape takes a name and sizes", [LENET, "--shape", "image=1xnx28x28"]),
    ("contradicts the model's image", [LENET, "--shape", "image=1x1x28x29"]),
    ("contradicts the model's image", [LENET, "--shape", "image=1x28x28"]),
    ("there is no file nowhere.npz", [LENET, "--input", "nowhere.npz"]),
    ("cannot read", [LENET, "--input", LENET]),
    ("inputs that are drawn", [LENET, "--input", "a.npz", "--shape", "image=1x1x28x28"]),
    ("is not in the range x>=0", [LENET, "--rtol", "-1"]),
    ("is not one of", [LENET, "--with", "torch"]),
]


@pytest.mark.parametrize(("message", "arguments"), BAD, ids=[f"{m} {len(a)}" for m, a in BAD])
def test_compare_of_bad_input_is_one_line_and_status_2(
    run: Run, message: str, arguments: list[str]
) -> None:
    status, out, err = run(
        *(arguments if "torch" in arguments else ["--with=reference", *arguments])
    )
    assert (status, out) == (2, "")
    assert message in err
    assert err.startswith("fastconv: error: ")
    assert len(err.splitlines()) == 1


def test_compare_of_a_model_that_drawn_inputs_break_names_the_cure(
    run: Run, tmp_path: Path
) -> None:
    # Lengths that a draw of 0 and 1 cannot hit.
    inputs = [INFO("x", FLOAT, [6]), INFO("parts", INT64, [2])]
    node = NODE("Split", ["x", "parts"], ["a", "b"], "cut", axis=0)
    path = saved(tmp_path, [node], inputs, [INFO("a", FLOAT, ["p"]), INFO("b", FLOAT, ["q"])])
    status, _, err = run(path, "--with", "reference")
    assert status == 2
    assert "cut" in err
    assert "--input takes real ones" in err
    np.savez(tmp_path / "in.npz", x=np.arange(6, dtype=np.float32), parts=np.array([2, 4]))
    assert run(path, "--with", "reference", "--input", str(tmp_path / "in.npz"))[0] == 0


# Inputs


def test_compare_reads_inputs_and_refuses_other_names_and_dtypes(run: Run, tmp_path: Path) -> None:
    image = np.zeros((2, 1, 28, 28), np.float32)
    np.savez(tmp_path / "a.npz", image=image)
    np.save(tmp_path / "a.npy", image)
    for name in ("a.npz", "a.npy"):
        found = shown(run, LENET, "--with", "reference", "--input", str(tmp_path / name))
        assert found["inputs"] == {"image": [2, 1, 28, 28]}
    np.savez(tmp_path / "b.npz", picture=image)
    _, _, err = run(LENET, "--with", "reference", "--input", str(tmp_path / "b.npz"))
    assert "must hold arrays named image, but holds picture" in err
    np.savez(tmp_path / "c.npz", image=image.astype(np.float64))
    status, _, err = run(LENET, "--with", "reference", "--input", str(tmp_path / "c.npz"))
    assert status == 2
    assert "takes float32, but got float64" in err


def test_compare_seed_decides_what_is_drawn(run: Run) -> None:
    rows = [
        shown(run, LENET, "--with", "reference", "--seed", seed)["outputs"][0]["deviation"]
        for seed in ("1", "1", "2")
    ]
    assert rows[0] == rows[1] != rows[2]


def test_compare_shares_named_dimensions_and_tells_those_that_became_one(
    run: Run, tmp_path: Path
) -> None:
    inputs = [INFO("x", FLOAT, ["n", "c"]), INFO("y", FLOAT, ["n", "c"])]
    path = saved(tmp_path, [NODE("Add", ["x", "y"], ["z"])], inputs, [INFO("z", FLOAT, ["n", "c"])])
    found = shown(run, path, "--with", "reference", "--shape", "y=4x5")
    assert found["inputs"] == {"x": [4, 5], "y": [4, 5]}
    assert "taken as 1" not in run(path, "--with", "reference", "--shape", "y=4x5")[1]
    assert "taken as 1 (--shape sets them): x: c, y: c" in run(path, "--with", "reference")[1]
    _, _, err = run(path, "--with", "reference", "--shape", "y=4x5", "--shape", "x=4x6")
    assert "sets dimension 'c' to 6 and 5" in err or "sets dimension 'c' to 5 and 6" in err


def test_compare_draws_rows_of_a_table_booleans_words_and_scalars(run: Run, tmp_path: Path) -> None:
    boolean = onnx.TensorProto.BOOL
    inputs = [
        INFO("ids", INT64, [1, 200]), INFO("mask", boolean, [1, 200, 1]),
        INFO("words", STRING, [50]), INFO("scale", FLOAT, []),
    ]  # fmt: skip
    nodes = [
        NODE("Unsqueeze", ["ids", "zero"], ["two"]), NODE("Squeeze", ["two", "zero"], ["one"]),
        NODE("Gather", ["table", "one"], ["rows"]),
        NODE("Where", ["mask", "rows", "scale"], ["y"]), NODE("Identity", ["words"], ["v"]),
        NODE("Identity", ["one"], ["i"]),
    ]  # fmt: skip
    zero = onnx.numpy_helper.from_array(np.array([0]), "zero")
    outputs = [INFO("y", FLOAT, [1, 200, 4]), INFO("v", STRING, [50]), INFO("i", INT64, [200])]
    path = saved(tmp_path, nodes, inputs, outputs, [weight("table", 30, 4), zero])
    found = shown(run, path, "--with", "reference", "--layers")
    rows = {row["value"]: row for row in found["outputs"]}
    assert rows["v"]["note"] == "equal"
    # Uniform in [0, 30): the deviation of 0 and 1 would be 0.5.
    assert 7 < rows["i"]["deviation"] < 10
    assert rows["i"]["rtol"] == rows["i"]["atol"] == 0


def test_compare_of_a_sequence_input_is_refused_and_a_sequence_output_is_compared(
    run: Run, tmp_path: Path
) -> None:
    nodes = [NODE("SequenceConstruct", ["x", "x"], ["s"])]
    kind = onnx.helper.make_tensor_sequence_value_info("s", FLOAT, [3])
    path = saved(tmp_path, nodes, [INFO("x", FLOAT, [3])], [kind])
    found = shown(run, path, "--with", "reference", "--layers")
    assert found["outputs"][0]["note"] == "2 elements agree"
    back = [NODE("ConcatFromSequence", ["s"], ["y"], axis=0)]
    path = saved(tmp_path, back, [kind], [INFO("y", FLOAT, ["k"])])
    assert "only tensors can be drawn" in run(path, "--with", "reference")[2]


# Models of other forms


@pytest.mark.parametrize("peer", PEERS)
def test_compare_layers_of_a_model_with_weights_in_a_file_of_their_own(
    run: Run, peer: str, tmp_path: Path
) -> None:
    model = onnx.load(chain(tmp_path))
    onnx.save(
        model, tmp_path / "apart.onnx", save_as_external_data=True, location="apart.data",
        size_threshold=0,
    )  # fmt: skip
    arguments = (str(tmp_path / "apart.onnx"), "--with", peer, "--layers", "--shape", "x=1x3x9x9")
    assert len(shown(run, *arguments)["layers"]) == 4


@pytest.mark.parametrize("peer", PEERS)
def test_compare_layers_of_functions_are_those_of_their_bodies(
    run: Run, peer: str, tmp_path: Path
) -> None:
    opset = onnx.helper.make_opsetid("", 21)
    body = [NODE("Tanh", ["a"], ["t"], "inside"), NODE("Neg", ["t"], ["b"])]
    function = onnx.helper.make_function("own", "Bent", ["a"], ["b"], body, [opset])
    node = NODE("Bent", ["x"], ["y"], "call", domain="own")
    path = saved(
        tmp_path, [node], [INFO("x", FLOAT, [2, 3])], [INFO("y", FLOAT, [2, 3])],
        functions=[function],
    )  # fmt: skip
    found = shown(run, path, "--with", peer, "--layers")
    assert [row["operator"] for row in found["layers"]] == ["Tanh", "Neg"]


def test_compare_of_random_numbers_names_their_node(run: Run, tmp_path: Path) -> None:
    nodes = [NODE("RandomNormalLike", ["x"], ["r"], "noise"), NODE("Add", ["x", "r"], ["y"], "sum")]
    path = saved(tmp_path, nodes, [INFO("x", FLOAT, [9])], [INFO("y", FLOAT, [9])])
    status, out, _ = run(path, "--with", "reference")
    assert status == 1
    assert "random numbers differ by nature: noise (RandomNormalLike)" in out


def test_tolerances_follow_the_coarsest_values_that_a_value_stems_from(
    run: Run, tmp_path: Path
) -> None:
    half = onnx.TensorProto.FLOAT16
    numbers = [
        onnx.numpy_helper.from_array(value, name)
        for name, value in (
            ("weights", np.ones(9, np.float16)), ("scale", np.float32(0.1)), ("zero", np.uint8(3)),
        )
    ]  # fmt: skip
    nodes = [
        NODE("Cast", ["weights"], ["exact"], to=FLOAT), NODE("Add", ["x", "exact"], ["fine"]),
        NODE("Cast", ["fine"], ["h"], to=half), NODE("Cast", ["h"], ["coarse"], to=FLOAT),
        NODE("QuantizeLinear", ["coarse", "scale", "zero"], ["q"]),
        NODE("DequantizeLinear", ["q", "scale", "zero"], ["y"]), NODE("Neg", ["x"], ["other"]),
    ]  # fmt: skip
    inputs = [INFO("x", FLOAT, [9])]
    outputs = [INFO("y", FLOAT, [9]), INFO("other", FLOAT, [9])]
    path = saved(tmp_path, nodes, inputs, outputs, numbers)
    found = shown(run, path, "--with", "reference", "--layers")
    allowed = {row["value"]: row["rtol"] for row in found["layers"]}
    fine, coarse = (float(np.finfo(dtype).eps) ** 0.5 for dtype in (np.float32, np.float16))
    expected = {"exact": fine, "fine": fine, "h": coarse, "coarse": coarse, "q": 0, "y": 2**-4}
    assert allowed == {**expected, "other": fine}
    assert {row["value"]: row["atol"] for row in found["layers"]}["q"] == 1
    assert [row["rtol"] for row in found["outputs"]] == [2**-4, fine]


# Values


def agrees(own: Any, expected: Any, **tolerance: Any) -> bool:
    return compare_values(own, expected, Tolerance(**tolerance)).agrees


def test_values_that_are_infinite_or_nan_at_the_same_places_agree() -> None:
    full = np.array([np.nan, np.inf, -np.inf, 1, 2], np.float32)
    assert agrees(full, full.copy())
    for place, other in ((0, 1), (1, 1), (1, -np.inf), (2, np.nan), (3, np.nan), (4, np.inf)):
        changed = full.copy()
        changed[place] = other
        found = compare_values(changed, full, Tolerance())
        assert not found.agrees
        assert found.note == "NaN or infinities differ in 1 of 5 places"
        assert found.max_error == 0
    assert not agrees(np.array([1 + np.inf * 1j]), np.array([1 + 2j]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_errors_are_those_of_float64_and_tolerances_follow_the_dtype(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    expected = (5 + rng.standard_normal(1_500_000)).astype(dtype)
    allowed = float(np.finfo(dtype).eps) ** 0.5
    wrong = expected.copy()
    wrong[-1] += 20 * allowed
    found = compare_values(wrong, expected, Tolerance())
    error = np.abs(wrong.astype(complex) - expected.astype(complex))
    assert not found.agrees
    assert found.note == "1 of 1500000 beyond tolerance"
    assert found.max_error == pytest.approx(error.max(), rel=1e-12)
    assert found.mean_error == pytest.approx(error.mean(), rel=1e-9)
    assert found.deviation == pytest.approx(np.std(expected.astype(complex)), rel=1e-9)
    assert found.max_relative == pytest.approx(error.max() / found.deviation)
    assert (found.rtol, found.atol) == (allowed, allowed * found.deviation)
    wrong[-1] = expected[-1] + dtype(allowed)
    assert agrees(wrong, expected)


def test_masked_cells_do_not_hide_the_errors_of_others() -> None:
    expected = np.linspace(-1, 1, 100, dtype=np.float32)
    expected[::2] = np.finfo(np.float32).min
    wrong = expected.copy()
    wrong[1] += 0.1
    assert agrees(expected, expected.copy())
    assert not agrees(wrong, expected)


def test_constant_values_agree_to_the_dtype_s_epsilon() -> None:
    zeros = np.zeros(4, np.float32)
    assert agrees(zeros + np.float32(1e-8), zeros)
    assert not agrees(zeros + np.float32(1e-6), zeros)
    assert compare_values(zeros, zeros, Tolerance()).max_relative is None
    assert agrees(np.zeros(0, np.float32), np.zeros(0, np.float32))


def test_integers_booleans_and_strings_are_to_be_equal() -> None:
    large = np.array([2**62, 5])
    found = compare_values(large + np.array([1, 0]), large, Tolerance())
    assert not found.agrees
    assert found.max_error == 1
    assert agrees(large + np.array([1, 0]), large, atol=1)
    assert agrees(large + np.array([1, 0]), large, step=1)
    assert not agrees(large + np.array([0, 2]), large, step=1)
    steps = np.array([0, 255], np.uint8)
    assert compare_values(np.array([255, 0], np.uint8), steps, Tolerance()).max_error == 255
    assert not agrees(np.array([True, False]), np.array([True, True]))
    words = np.array(["a", "b"], object)
    assert agrees(words, np.array(["a", "b"]))
    assert compare_values(words, words[::-1], Tolerance()).note == "2 of 2 differ"


def test_shapes_dtypes_and_kinds_are_to_be_the_same() -> None:
    x = np.zeros((2, 3), np.float32)
    assert compare_values(x, x[:1], Tolerance()).note == "shape [2, 3] against [1, 3]"
    assert compare_values(x, x.astype("f8"), Tolerance()).note == "float32 against float64"
    assert compare_values([x], x, Tolerance()).note == "a sequence against an array"
    assert compare_values(None, x, Tolerance()).note == "nothing against an array"
    assert agrees(None, None)
    assert agrees([x, x], [x, x])
    assert compare_values([x], [x, x], Tolerance()).note == "1 elements against 2"
    assert "element 1: 6 of 6 beyond" in compare_values([x, x + 1], [x, x], Tolerance()).note
    assert agrees([{"a": 1.0}], [{"a": 1.0}])
    assert not agrees([{"a": 1.0}], [{"a": 2.0}])
    assert not agrees({"a": 1.0}, {"b": 1.0})


def test_floats_that_numpy_does_not_know_are_compared_by_their_bits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    own = np.array([1, 1.5, -2], ml_dtypes.float8_e4m3fn)
    assert agrees(own, own.view(np.uint8))
    assert not agrees(own, own[::-1].view(np.uint8))
    assert agrees(own.astype(ml_dtypes.bfloat16), own.astype(ml_dtypes.bfloat16))
