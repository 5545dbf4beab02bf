"""The module system: attributes, names, state dicts, words of errors."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from fastconv import nn
from fastconv.nn.initial import shapes_only


class Block(nn.Module):
    """A small network with everything in it: layers, a parameter, buffers, a list."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 3)])
        self.named = nn.ModuleDict({"a": nn.PReLU()})
        self.scale = nn.Parameter(np.ones(4, np.float32))
        self.register_buffer("mean", np.zeros(4, np.float32))
        self.register_buffer("cache", np.zeros(1, np.float32), persistent=False)
        self.register_parameter("nothing", None)

    def forward(self, x: Any) -> Any:
        y = self.features(x).mean((2, 3)) * self.scale - self.mean
        return self.heads[0](y), self.named["a"](self.heads[1](y))


def twin() -> torch.nn.Module:
    """The same in torch."""
    module = torch.nn.Module()
    module.features = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
    )
    module.heads = torch.nn.ModuleList([torch.nn.Linear(4, 2), torch.nn.Linear(4, 3)])
    module.named = torch.nn.ModuleDict({"a": torch.nn.PReLU()})
    module.scale = torch.nn.Parameter(torch.ones(4))
    module.register_buffer("mean", torch.zeros(4))
    module.register_buffer("cache", torch.zeros(1), persistent=False)
    module.register_parameter("nothing", None)
    return module


def test_names_are_torch_s() -> None:
    ours, theirs = Block(), twin()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for walk in ("named_parameters", "named_buffers", "named_children", "named_modules"):
        mine = [(name, getattr(item, "shape", None)) for name, item in getattr(ours, walk)()]
        want = [(name, getattr(item, "shape", None)) for name, item in getattr(theirs, walk)()]
        assert mine == want
    assert len(list(ours.parameters())) == len(list(theirs.parameters()))
    assert len(list(ours.buffers())) == len(list(theirs.buffers()))
    assert [type(m).__name__ for m in ours.children()] == ["Sequential", "ModuleList", "ModuleDict"]
    assert len(list(ours.modules())) == len(list(theirs.modules()))
    assert repr(ours).splitlines()[1:] == repr(theirs).splitlines()[1:]
    assert ours.get_submodule("features.0") is ours.features[0]
    with pytest.raises(AttributeError, match=r"has no module '7' \('features.7'\)"):
        ours.get_submodule("features.7")


def test_parameters_cannot_be_changed_in_place() -> None:
    layer = nn.Conv2d(3, 4, 3)
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        layer.weight += 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        layer.weight.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        layer.bias.fill(0)


def test_assigning_replaces_a_parameter() -> None:
    layer = nn.Linear(3, 2)
    x = np.ones((1, 3), np.float32)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer.weight = values
    layer.bias = None
    np.testing.assert_array_equal(layer(x), [[3, 12]])
    values[:] = 0  # the layer has its own copy
    np.testing.assert_array_equal(layer(x), [[3, 12]])
    layer.weight = layer.weight * 2
    np.testing.assert_array_equal(layer(x), [[6, 24]])
    layer.weight = torch.ones(2, 3, requires_grad=True)
    np.testing.assert_array_equal(layer(x), [[3, 3]])
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.raises(ValueError, match=r"weight: expected an array of shape \[2, 3\], but got"):
        layer.weight = np.ones((3, 2))
    with pytest.raises(TypeError, match="weight is a parameter or buffer"):
        layer.weight = nn.ReLU()
    with pytest.raises(TypeError, match="weight must be an array of numbers"):
        layer.weight = np.array([None])


def test_assigned_arrays_bring_their_dtype() -> None:
    layer = nn.Linear(3, 2, bias=False)
    layer.weight = np.ones((2, 3))
    assert layer.weight.dtype == np.float64
    layer.weight = torch.ones(2, 3, dtype=torch.bfloat16)
    assert layer.weight.dtype == ml_dtypes.bfloat16


def test_what_is_made_from_a_parameter_is_frozen_anew() -> None:
    layer = nn.Linear(3, 2)
    copied = layer.weight.astype(np.float64)
    layer.weight = copied
    copied[:] = 0
    assert layer.weight.all()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0] = 1


def test_attributes() -> None:
    block = Block()
    assert block.nothing is None
    block.features = None
    assert "features.0.weight" not in block.state_dict()
    with pytest.raises(TypeError, match="features is a module"):
        block.features = 3
    del block.scale
    assert not hasattr(block, "scale")
    with pytest.raises(AttributeError, match="'Block' object has no attribute 'scale'"):
        _ = block.scale
    block.scale = 3
    assert "scale" not in dict(block.named_parameters())
    block.scale = nn.Linear(1, 1)
    assert "scale" in dict(block.named_children())
    with pytest.raises(KeyError, match="already exists"):
        block.register_buffer("forward", np.zeros(1))
    with pytest.raises(ValueError, match="a name must be a string"):
        block.add_module("a.b", nn.ReLU())
    with pytest.raises(TypeError, match="is not a Module"):
        block.add_module("c", 3)  # type: ignore[arg-type]
    assert {"heads", "mean", "scale"} <= set(dir(block))


def test_init_must_be_called() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\)"):
        Forgetful()
    with pytest.raises(NotImplementedError, match='missing the "forward" method'):
        nn.Module()(1)


def test_state_dicts_travel_both_ways() -> None:
    ours, theirs = Block(), twin().eval()
    result = ours.load_state_dict(theirs.state_dict())
    assert result == ([], [])
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key], value.numpy())
    back = {key: torch.from_numpy(np.array(value)) for key, value in ours.state_dict().items()}
    theirs.load_state_dict(back)
    assert ours.state_dict()["features.1.num_batches_tracked"].dtype == np.int64
    assert ours.state_dict(prefix="net.").keys() == {f"net.{k}" for k in ours.state_dict()}


def test_loading_casts_to_the_layer_s_dtype() -> None:
    layer = nn.Linear(2, 2)
    values = torch.tensor([[1.5, -2.0], [0.1, 3e38]])
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int32):
        weight = values.clamp(-100, 100).to(dtype)
        layer.load_state_dict({"weight": weight, "bias": torch.zeros(2)})
        assert layer.weight.dtype == np.float32
        np.testing.assert_array_equal(layer.weight, weight.float().numpy())
    with pytest.raises(TypeError, match="weight has dtype float32, but got complex64"):
        layer.load_state_dict({"weight": values.to(torch.complex64), "bias": torch.zeros(2)})


def test_loading_from_an_archive(tmp_path: Any) -> None:
    block, other = Block(), Block()
    np.savez(tmp_path / "weights.npz", **block.state_dict())
    with np.load(tmp_path / "weights.npz") as archive:
        other.load_state_dict(archive)
    for key, value in block.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[key], value)


def test_keys_and_shapes_that_do_not_match() -> None:
    block = Block()
    before = block.state_dict()
    given: dict[str, Any] = {key: np.zeros(value.shape) for key, value in before.items()}
    del given["scale"], given["features.1.num_batches_tracked"]
    given["extra"] = np.zeros(1)
    given["heads.0.bias"] = np.zeros(3)
    with pytest.raises(ValueError, match="Error") as caught:
        block.load_state_dict(given)
    assert str(caught.value).split("\n\t") == [
        "Error(s) in loading state_dict for Block:",
        'Missing key(s) in state_dict: "scale".',
        'Unexpected key(s) in state_dict: "extra".',
        "size mismatch for heads.0.bias: copying a param with shape [3] from checkpoint, the shape "
        "in current model is [2].",
    ]
    assert all(block.state_dict()[key] is value for key, value in before.items())
    given["heads.0.bias"] = np.zeros(2)
    missing, unexpected = block.load_state_dict(given, strict=False)
    assert (missing, unexpected) == (["scale"], ["extra"])
    assert not block.heads[0].bias.any()
    with pytest.raises(ValueError, match="as DataParallel saves them"):
        block.load_state_dict({f"module.{key}": value for key, value in before.items()})
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        block.load_state_dict([1])  # type: ignore[arg-type]


def test_a_scalar_may_come_as_one_element() -> None:
    norm = nn.BatchNorm2d(2)
    given = {key: np.array(value) for key, value in norm.state_dict().items()}
    given["num_batches_tracked"] = np.array([7])
    norm.load_state_dict(given)
    assert norm.num_batches_tracked == 7
    assert norm.num_batches_tracked.shape == ()


def test_shared_weights_stay_shared() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert len(list(model.parameters())) == 3
    zeros = np.zeros((3, 3))
    model.load_state_dict({k: zeros if "weight" in k else zeros[0] for k in model.state_dict()})
    assert model[1].weight is model[0].weight
    assert model[1].bias is not model[0].bias
    model.double()
    assert model[1].weight is model[0].weight
    other = copy.deepcopy(model)
    assert other[1].weight is other[0].weight
    assert other[0].weight is not model[0].weight


def test_copies_are_apart() -> None:
    layer = nn.Linear(3, 3)
    copies = nn.ModuleList([copy.deepcopy(layer) for _ in range(2)])
    assert len(list(copies.parameters())) == 4
    np.testing.assert_array_equal(copies[0].weight, layer.weight)
    copies[0].weight = np.zeros((3, 3))
    assert layer.weight.any()
    drawn = copy.deepcopy(layer)
    np.testing.assert_array_equal(drawn.weight, layer.weight)
    restored = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(restored.weight, layer.weight)


def test_casting() -> None:
    nn.manual_seed(3)
    late = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    nn.manual_seed(3)
    early = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    assert early[0].weight.dtype == np.float32
    assert early.half() is early
    late.half()
    np.testing.assert_array_equal(early[0].weight, late[0].weight)
    assert {value.dtype.name for value in late.state_dict().values()} == {"float16", "int64"}
    assert late.to(ml_dtypes.bfloat16)[0].weight.dtype == ml_dtypes.bfloat16
    assert late.float()[1].running_mean.dtype == np.float32
    with pytest.raises(TypeError, match="dtype of a layer must be one of float16"):
        late.to(np.bool_)


@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64", "int8", ml_dtypes.bfloat16])
def test_dtype_of_a_layer(dtype: Any) -> None:
    layer = nn.Conv1d(2, 3, 2, dtype=dtype)
    assert layer.weight.dtype == np.dtype(dtype)
    assert layer.bias.dtype == np.dtype(dtype)
    assert layer(np.zeros((1, 2, 4), dtype)).shape == (1, 3, 3)


def test_first_weights_follow_torch_s_distribution() -> None:
    nn.manual_seed(0)
    for layer, fan_in in ((nn.Conv2d(64, 32, 3, groups=2), 288), (nn.Linear(500, 40), 500)):
        bound = 1 / np.sqrt(fan_in)
        values = np.asarray(layer.weight, np.float64).ravel()
        assert np.abs(values).max() <= bound
        # The variance of a uniform distribution, within 5 standard errors of its estimate.
        assert values.var() == pytest.approx(bound**2 / 3, rel=5 * np.sqrt(0.8 / values.size))
        assert np.abs(values.mean()) < 5 * bound / np.sqrt(3 * values.size)
        assert np.abs(layer.bias).max() <= bound
    transposed = nn.ConvTranspose2d(8, 50, 4)
    assert transposed.weight.shape == (8, 50, 4, 4)
    assert 0.9 / np.sqrt(800) < np.abs(transposed.weight).max() <= 1 / np.sqrt(800)


def test_seeds() -> None:
    def weights(seed: int, *, backwards: bool = False) -> list[Any]:
        nn.manual_seed(seed)
        layers = [nn.Linear(4, 4) for _ in range(3)]
        order = reversed(layers) if backwards else layers
        drawn = {id(layer): np.array(layer.weight) for layer in order}
        return [drawn[id(layer)] for layer in layers]

    first = weights(1)
    np.testing.assert_array_equal(first, weights(1, backwards=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, weights(2))
    with pytest.raises(ValueError, match="seed must not be negative"):
        nn.manual_seed(-1)


def test_counting_draws_nothing() -> None:
    layer = nn.Linear(10**6, 10**6)  # four terabytes
    with shapes_only():
        assert sum(p.size for p in layer.parameters()) == 10**12 + 10**6
        assert not isinstance(layer.weight, nn.Parameter)
    summary = layer.summary((1, 10**6))
    assert summary.total_parameters == 10**12 + 10**6
    assert nn.Conv2d(2, 3, 3, dtype=np.float64).summary((1, 2, 8, 8)).total_macs == 36 * 54


def test_errors_name_the_layer() -> None:
    block = Block()
    with pytest.raises(ValueError, match="expected input") as caught:
        block(np.zeros((1, 2, 8, 8), np.float32))
    assert str(caught.value).endswith(
        "(in layer 'features.0': Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1)))"
    )
    with pytest.raises(TypeError, match=r"\(in layer 'features.0': Conv2d") as wrong:
        block(np.zeros((1, 3, 8, 8)))
    assert str(wrong.value).count("(in layer") == 1
    nested = nn.Sequential(OrderedDict(net=block))
    with pytest.raises(TypeError, match=r"\(in layer 'net.features.0': Conv2d"):
        nested(np.zeros((1, 3, 8, 8)))
    with pytest.raises(TypeError, match=r"\(in Conv2d\(3, 4"):
        block.features[0](np.zeros((1, 3, 8, 8)))

    class Bad(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList([Raises()])

        def forward(self, x: Any) -> Any:
            return self.heads[0](x)

    class Raises(nn.Module):
        def forward(self, x: Any) -> Any:
            raise UnicodeDecodeError("ascii", b"", 0, 1, "why")

    with pytest.raises(UnicodeDecodeError, match="why"):
        Bad()(1)


def test_there_is_no_training() -> None:
    block = Block()
    assert block.eval() is block
    assert block.train(False) is block
    assert block.training is False
    with pytest.raises(NotImplementedError, match="forward only"):
        block.train()


def test_apply_goes_inside_first() -> None:
    seen: list[str] = []
    Block().apply(lambda module: seen.append(type(module).__name__))
    assert seen[:4] == ["Conv2d", "BatchNorm2d", "ReLU", "Sequential"]
    assert seen[-1] == "Block"
