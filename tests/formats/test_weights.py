"""Weight files: what torch, safetensors and NumPy wrote, what is refused, and damage."""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import fastconv
from fastconv.formats.weights.pickled import Global, Reader

Array = np.ndarray[Any, Any]


def tensors() -> dict[str, Any]:
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    names = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8")
    names += ("uint8", "uint16", "uint32", "uint64", "complex64", "complex128")
    kinds = {name: (10 * base).to(getattr(torch, name)) for name in names if name[0] != "u"}
    kinds.update({n: (10 * base.abs()).to(getattr(torch, n)) for n in names if n[0] == "u"})
    return {
        **kinds,
        "bool": base > 0,
        "turned": base.t(),
        "part": base[1:3, ::2],
        "wide": torch.ones(3).expand(5, 3),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base.clone()),
        "one": base[0],
        "two": base[0],
    }


def as_numpy(tensor: Any) -> Array:
    plain = tensor.detach()
    if plain.dtype == torch.bfloat16:
        return plain.float().numpy().astype(ml_dtypes.bfloat16)
    return np.asarray(plain.numpy())


def same(found: dict[str, Array], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        wanted = as_numpy(tensor)
        assert found[name].dtype == wanted.dtype, name
        assert found[name].shape == wanted.shape, name
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("suffix", ["pt", "pth"])
def test_checkpoints_of_torch(tmp_path: Path, suffix: str, protocol: int) -> None:
    path = tmp_path / f"weights.{suffix}"
    torch.save(tensors(), path, pickle_protocol=protocol)
    found = fastconv.load_weights(path)
    same(found, tensors())
    assert np.shares_memory(found["one"], found["two"])


def test_a_module_s_state_dict(tmp_path: Path) -> None:
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    ours = fastconv.nn.Sequential(fastconv.nn.Conv2d(3, 4, 3), fastconv.nn.BatchNorm2d(4))
    ours.load_state_dict(fastconv.load_weights(tmp_path / "weights.pt"))
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype("f4")
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=0, atol=1e-5)


def test_a_dict_in_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    layer = torch.nn.Linear(2, 3)
    # What an optimiser's state is like, which importing torch's own takes seconds for.
    optimiser = {"state": {0: {"step": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    states = {"model": layer.state_dict(), "optimiser": optimiser, "epoch": 3}
    torch.save(states, path)
    same(fastconv.load_weights(path, key="model"), layer.state_dict())
    with pytest.raises(ValueError, match=r"more than tensors.*key=: 'model', 'optimiser'"):
        fastconv.load_weights(path)
    with pytest.raises(ValueError, match="no dict under key 'weights'"):
        fastconv.load_weights(path, key="weights")
    with pytest.raises(ValueError, match="more than tensors: state, param_groups"):
        fastconv.load_weights(path, key="optimiser")


def test_safetensors(tmp_path: Path) -> None:
    torch_safe = pytest.importorskip("safetensors.torch", reason="it writes the files")
    kept = {k: v.contiguous() for k, v in tensors().items() if k != "complex128"}
    kept = {key: value.detach().clone() for key, value in kept.items()}
    torch_safe.save_file(kept, tmp_path / "weights.safetensors", metadata={"format": "pt"})
    found = fastconv.load_weights(tmp_path / "weights.safetensors")
    same({key: found[key] for key in kept}, kept)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: Any) -> None:
    kept = {"a.weight": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.eye(3, dtype="f4"))}
    save(tmp_path / "weights.npz", **kept)
    found = fastconv.load_weights(tmp_path / "weights.npz")
    assert list(found) == list(kept)
    for name, array in kept.items():
        np.testing.assert_array_equal(found[name], array)


def test_without_ml_dtypes_bfloat16_is_float32(tmp_path: Path) -> None:
    values = torch.tensor([1.5, -2.25, 3e38], dtype=torch.bfloat16)
    torch.save({"w": values}, tmp_path / "w.pt")
    source = f"""
import sys
sys.modules["ml_dtypes"] = None
import fastconv
w = fastconv.load_weights({str(tmp_path / "w.pt")!r})["w"]
print(w.dtype, w.tolist() == {values.float().tolist()!r}, "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["float32", "True", "False"]


class Evil:
    """A pickle that would run a command."""

    def __reduce__(self) -> Any:
        return print, ("it ran",)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"w": Evil()}, "__builtin__.print, which is neither a tensor"),
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear, which is neither"),
        ({"w": np.float64(3)}, "which is neither a tensor"),
        ({"w": torch.ones(2).to_sparse()}, "which is neither a tensor"),
        ({"w": torch.ones(2).to(torch.float8_e5m2)}, "torch.float8_e5m2, which is neither"),
        ({"w": {1, 2}}, "not read|neither a tensor"),
        ([torch.ones(2)], "no dict of tensors, but a list"),
        (torch.ones(2), "no dict of tensors, but a tensor"),
        ({"w": torch.ones(2), "epoch": 3}, "more than tensors: epoch"),
        ({(1, 2): torch.ones(2)}, "a dict's key is a tuple"),
    ],
)  # fmt: skip
def test_nothing_but_tensors_is_read(
    tmp_path: Path, saved: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(saved, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=message):
        fastconv.load_weights(tmp_path / "w.pt")
    assert capsys.readouterr().out == ""


def test_other_formats_are_refused_with_advice(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"before 1\.6.*torch\.save\(torch\.load"):
        fastconv.load_weights(tmp_path / "old.pt")
    (tmp_path / "no.pt").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not a zip archive"):
        fastconv.load_weights(tmp_path / "no.pt")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    (tmp_path / "arrays.npz").rename(tmp_path / "arrays.pt")
    with pytest.raises(ValueError, match=r"none that torch\.save wrote"):
        fastconv.load_weights(tmp_path / "arrays.pt")
    torch.save({"w": torch.ones(2)}, tmp_path / "w.npz")
    with pytest.raises(ValueError, match="is not an array"):
        fastconv.load_weights(tmp_path / "w.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match="Python objects"):
        fastconv.load_weights(tmp_path / "objects.npz")
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(ValueError, match=r"weights are read from \.safetensors, \.npz, \.pt"):
        fastconv.load_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="there is no file"):
        fastconv.load_weights(tmp_path / "absent.pt")
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"key is for \.pt"):
        fastconv.load_weights(tmp_path / "a.npz", key="a")


def rewritten(source: bytes, change: Any) -> bytes:
    """Write an archive again, its files changed."""
    old, stream = zipfile.ZipFile(io.BytesIO(source)), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return stream.getvalue()


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def edit(old: bytes, new: bytes) -> Any:
    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return data
        assert old in data
        return data.replace(old, new, 1)

    return change


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    source = saved({"w": torch.arange(12.0).reshape(3, 4)})
    path = tmp_path / "w.pt"
    # The storage's 12 elements, the sizes (3, 4) and the strides (4, 1), as the pickle has them.
    shape, stride = b"K\x03K\x04\x86", b"K\x04K\x01\x86"
    huge = b"J\xff\xff\xff\x7f"
    for change, message in (
        (edit(b"K\x0ct", huge + b"t"), "its storage has 48"),
        (edit(shape, b"K\x04K\x04\x86"), "reaches beyond its storage"),
        (edit(shape, huge + huge + b"\x86"), "reaches beyond its storage"),
        (edit(stride, huge + b"K\x01\x86"), "reaches beyond its storage"),
        (edit(stride, b"J\xff\xff\xff\xffK\x01\x86"), "must be ints, and not negative"),
        (edit(shape, b"K\x03\x85"), "sizes"),
        (lambda name, data: None if "/data/" in name else data, "is missing"),
        (lambda name, data: data[:-4] if "/data/" in name else data, "its storage has 44"),
        (lambda name, data: b"middle" if name.endswith("byteorder") else data, "byte order"),
        (lambda name, data: b"" if name.endswith("data.pkl") else data, "pickle|exhausted"),
    ):
        path.write_bytes(rewritten(source, change))
        with pytest.raises(ValueError, match=message):
            fastconv.load_weights(path)
    # A tensor may repeat its memory, as expand() does; nothing is allocated for it.
    path.write_bytes(rewritten(source, edit(shape + b"q", huge + b"K\x01\x86q")))
    with pytest.raises(ValueError, match="reaches beyond"):
        fastconv.load_weights(path)
    (flat,) = {fastconv.load_weights(_wide(tmp_path))["w"].nbytes}
    assert flat == 4 * 10**15


def _wide(folder: Path) -> Path:
    path = folder / "wide.pt"
    path.write_bytes(saved({"w": torch.ones(1).expand(10**8, 10**7)}))
    return path


def test_big_endian_files(tmp_path: Path) -> None:
    source = saved(
        {"w": torch.arange(5, dtype=torch.float32), "b": torch.ones(3, dtype=torch.bfloat16)}
    )

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("byteorder"):
            return b"big"
        if "/data/" in name:
            size = 4 if len(data) == 20 else 2
            return b"".join(data[i : i + size][::-1] for i in range(0, len(data), size))
        return data

    (tmp_path / "w.pt").write_bytes(rewritten(source, change))
    found = fastconv.load_weights(tmp_path / "w.pt")
    assert found["w"].tolist() == [0, 1, 2, 3, 4]
    assert found["b"].astype("f4").tolist() == [1, 1, 1]
    assert found["w"].dtype.isnative


def test_npz_that_says_it_is_larger_than_it_is(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(3.0))

    def change(name: str, data: bytes) -> bytes:
        return data.replace(b"(3,), }          ", b"(3000000000000,)}")

    (tmp_path / "w.npz").write_bytes(rewritten(stream.getvalue(), change))
    with pytest.raises(ValueError, match="says that it is 24000000000000 bytes"):
        fastconv.load_weights(tmp_path / "w.npz")


def test_the_pickle_reader_is_python_s_on_plain_values() -> None:
    value = {"a": [1, -2, 2**40, 1.5, None, True], "b": (("x",), (), (1, 2, 3, 4)), "c": {}}
    for protocol in (2, 3, 4, 5):
        assert Reader({}, lambda _: None).read(pickle.dumps(value, protocol)) == value
    ordered = collections.OrderedDict(a=1)
    makers = {Global("collections", "OrderedDict"): dict}
    assert Reader(makers, lambda _: None).read(pickle.dumps(ordered, 2)) == {"a": 1}
    for damaged in (
        b"",
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02s.",
        b"\x80\x02(t",
        b"\x80\x02h\x05.",
    ):
        with pytest.raises(ValueError, match="pickle"):
            Reader({}, lambda _: None).read(damaged)
    # Where Python's own reader would take memory for the largest index.
    with pytest.raises(ValueError, match=r"pickle"):
        Reader({}, lambda _: None).read(b"\x80\x02Nr\xff\xff\xff\xff")
    with pytest.raises(ValueError, match=r"bytes"):
        Reader({}, lambda _: None).read(b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.")


@pytest.mark.parametrize("suffix", ["pt", "npz", "safetensors"])
def test_damaged_files_are_value_errors(tmp_path: Path, suffix: str) -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.float16)}
    if suffix == "pt":
        source = saved(weights)
    elif suffix == "npz":
        stream = io.BytesIO()
        np.savez_compressed(stream, **{k: v.numpy() for k, v in weights.items()})
        source = stream.getvalue()
    else:
        source = pytest.importorskip("safetensors.torch", reason="it writes the files").save(
            weights
        )
    rng, path, failed = random.Random(0), tmp_path / f"w.{suffix}", 0
    for round_ in range(450):
        data = bytearray(source)
        if round_ % 3 == 0:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.choice((1, 1, 2, 8))):
                data[rng.randrange(len(data))] = rng.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
                )
        if suffix == "pt" and round_ % 3 == 1:
            # The pickle alone, in an archive that is whole.
            def change(name: str, content: bytes) -> bytes:
                if not name.endswith("data.pkl"):
                    return content
                pickled = bytearray(content)
                pickled[rng.randrange(len(pickled))] = rng.randrange(256)
                return bytes(pickled)

            data = bytearray(rewritten(source, change))
        path.write_bytes(data)
        with contextlib.suppress(ValueError):
            failed += 1
            found = fastconv.load_weights(path)
            failed -= 1
            assert all(isinstance(array.sum().item(), (int, float)) for array in found.values())
    assert failed > 150
