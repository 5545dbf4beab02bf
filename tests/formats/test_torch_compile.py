"""The backend of torch.compile: what fastconv runs, what stays with torch, and memory."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fastconv
from fastconv.formats.torch.backend import Part
from tests.zoo import classifiers, others
from tests.zoo.parts import drawn

assert fastconv.torch.compile_graph


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    """List what the parts that fastconv ran hold; compile afresh for each test."""
    ran: list[tuple[str, ...]] = []
    run = Part._run

    def recorded(self: Any, inputs: Any) -> Any:
        result = run(self, inputs)
        calls = self._module.graph.nodes
        targets = [node.target for node in calls if node.op == "call_function"]
        ran.append(tuple(getattr(target, "_opname", "getitem") for target in targets))
        return result

    monkeypatch.setattr(Part, "_run", recorded)
    torch._dynamo.reset()
    yield ran
    torch._dynamo.reset()


def close(result: Any, expected: Any, tolerance: float = 1e-4) -> None:
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= tolerance * expected.abs().max()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.norm(self.conv(x)), inplace=True)
        return self.fc(F.adaptive_avg_pool2d(F.max_pool2d(x, 2), 1).flatten(1))


@pytest.mark.parametrize(
    ("make", "again"),
    [(classifiers.shufflenet_v2, (2, 3, 64, 64)), (others.UNet, (1, 3, 48, 72))],
)
def test_networks_are_torch_s(make: Any, again: tuple[int, ...], parts: Any) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    module = drawn(make(), x)
    compiled = torch.compile(module, backend="fastconv")
    with torch.no_grad():
        close(compiled(x), module(x))
        other = torch.randn(*again)
        close(compiled(other), module(other))
    # All of it: one part at a time.
    assert len(parts) == 2
    assert any("conv" in name for name in parts[0])


def test_what_is_not_supported_stays_with_torch(parts: Any) -> None:
    weight = torch.randn(4, 3, 3, 3)

    def function(x: Any) -> Any:
        y = F.conv2d(x, weight).kthvalue(2, -1, keepdim=True)[0].logcumsumexp(1)
        return F.max_pool2d(y, (2, 1)).relu()

    x = torch.randn(2, 3, 10, 10)
    with torch.no_grad():
        close(torch.compile(function, backend="fastconv")(x), function(x))
    names = [name for part in parts for name in part]
    assert len(parts) == 2
    assert "convolution" in names
    assert "relu" in names
    assert not {"kthvalue", "logcumsumexp"} & set(names)


def test_orders_run_here(parts: Any) -> None:
    weight = torch.randn(3, 3, 3, 3)

    def function(x: Any) -> Any:
        x = F.conv2d(x, weight, padding=1).masked_fill(x > 1, 0)
        return x.sort(-1)[0].cumsum(1) + x.topk(8)[0]

    x = torch.randn(2, 3, 10, 8)
    with torch.no_grad():
        close(torch.compile(function, backend="fastconv")(x), function(x))
    assert len(parts) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_of_16_bit_activations_are_one_part_with_the_rest(dtype: Any, parts: Any) -> None:
    x = torch.randn(2, 9, 64).to(dtype)
    module = classifiers.Encoder(64, 2).eval().to(dtype)
    with torch.no_grad():
        result = torch.compile(module, backend="fastconv")(x)
        wanted = module.float()(x.float())
        close(result.float(), wanted, torch.finfo(dtype).eps)
    assert len(parts) == 1
    assert any("attention" in name for name in parts[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_activations_stay_with_torch(dtype: Any, parts: Any) -> None:
    x = torch.randn(2, 9, 64).to(dtype)
    module = classifiers.Encoder(64, 2).eval().to(dtype)
    with torch.no_grad():
        result = torch.compile(module, backend="fastconv")(x)
        close(result, module(x), 1e-4 if dtype.itemsize > 2 else 3e-2)
    names = {name for part in parts for name in part}
    assert "addmm" in names
    assert not any(word in name for name in names for word in ("attention", "bmm"))
    # Before and after the attention, with neither its views nor a layer's cut off.
    assert len(parts) == 2
    assert not {"permute", "unbind", "transpose"} & names


def test_what_fastconv_refuses_runs_as_torch_runs_it(
    monkeypatch: pytest.MonkeyPatch, parts: Any
) -> None:
    def refuse(self: Any, *arrays: Any) -> Any:
        raise ValueError("not these")

    monkeypatch.setattr(fastconv.network.Network, "__call__", refuse)
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        close(compiled(x), module(x))
        close(compiled(x), module(x))
    assert parts == []


def test_sums_of_integers_stay_with_torch(parts: Any) -> None:
    x, weight = (torch.randint(-9, 9, shape, dtype=torch.int32) for shape in ((4, 6), (5, 6)))
    with torch.no_grad():
        result = torch.compile(F.linear, backend="fastconv")(x, weight)
    assert torch.equal(result, F.linear(x, weight))
    assert parts == []


def test_gradients_stay_with_torch(parts: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    compiled(x).sum().backward()
    assert module.conv.weight.grad is not None
    assert parts == []
    with torch.no_grad():
        close(compiled(x), module(x))
    assert len(parts) == 1
    module.train()
    before = module.norm.running_mean.clone()
    with torch.no_grad():
        compiled(x)
    assert not torch.equal(before, module.norm.running_mean)


def test_weights_that_change_are_taken_again(parts: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    optimiser_like = [lambda p: p.mul_(1.5), lambda p: p.copy_(torch.randn_like(p))]
    with torch.no_grad():
        close(compiled(x), module(x))
        for change in optimiser_like:
            for parameter in module.parameters():
                change(parameter)
            close(compiled(x), module(x))
        module.norm.running_var.add_(2)
        close(compiled(x), module(x))
        module.load_state_dict(Net().state_dict())
        close(compiled(x), module(x))
        module.conv.weight = nn.Parameter(torch.ones_like(module.conv.weight))
        close(compiled(x), module(x))
    assert parts


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """List the places of the weights that each network was made to hold."""
    made: list[tuple[int, ...]] = []
    build = Part._built

    def counted(self: Any, inputs: Any, weights: Any) -> Any:
        made.append(tuple(weights))
        return build(self, inputs, weights)

    monkeypatch.setattr(Part, "_built", counted)
    return made


def test_weights_are_packed_once_a_change(built: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    changes = [
        lambda: None,
        lambda: module.load_state_dict(Net().state_dict()),
        lambda: module.fc.bias.mul_(2),
        lambda: setattr(module.norm, "running_mean", torch.ones(8)),
    ]
    with torch.no_grad():
        for count, change in enumerate(changes, 1):
            change()
            for _ in range(10):
                x = torch.randn(2, 3, 8, 8)
                close(compiled(x), module(x))
            assert len(built) == count
    assert all(built)


def test_weights_that_keep_changing_are_inputs(built: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for _ in range(12):
            module.conv.weight.add_(0.1)
            close(compiled(x), module(x))
        assert len(built) < 6
        assert built[-1] == ()
        for _ in range(12):
            close(compiled(x), module(x))
    assert built[-1] != ()


def test_a_weight_in_the_place_of_another_is_seen(built: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for value in range(1, 8):
            # Probably where the last one was, and of the same version.
            del module.fc.weight
            module.fc.weight = nn.Parameter(torch.full((5, 8), float(value)))
            close(compiled(x), module(x))


class Twice(nn.Module):
    """Layers that share weights, in parts with torch's own work in between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.other = nn.Conv2d(3, 3, 3, padding=1)
        self.other.weight = self.conv.weight

    def forward(self, x: Any) -> Any:
        return self.other(self.conv(x).logcumsumexp(1))


def test_weights_that_parts_share(built: Any) -> None:
    module = Twice().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for _ in range(2):
            close(compiled(x), module(x))
            assert [len(places) for places in built] == [2, 2]
        module.conv.weight.mul_(2)
        for _ in range(2):
            close(compiled(x), module(x))
            assert len(built) == 4


def test_layers_that_share_code_keep_their_own_weights(built: Any) -> None:
    layers = [nn.Conv2d(3, 3, 3, padding=1).eval() for _ in range(20)]
    expected = nn.Sequential(*layers)

    def layer(module: Any, x: Any) -> Any:
        return module(x)

    compiled = torch.compile(layer, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for _ in range(3):
            y = x
            for each in layers:
                y = compiled(each, y)
            close(y, expected(x))
    assert len(built) == len(layers)


def test_nothing_keeps_weights_alive() -> None:
    module = Net().eval()
    compiled = torch.compile(lambda net, x: net(x), backend="fastconv")
    seen = weakref.ref(module.conv.weight)
    with torch.no_grad():
        compiled(module, torch.randn(2, 3, 8, 8))
    del module
    gc.collect()
    assert seen() is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_batch_marked_dynamic_packs_once(mode: Any, built: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    torch._dynamo.mark_dynamic(x, 0)
    with mode():
        close(compiled(x), module(x))
        batches = [torch.randn(batch, 3, 8, 8) for batch in (2, 3, 5)]
        for other in batches:
            close(compiled(other), module(other))
        count = len(built)
        for other in batches:
            close(compiled(other), module(other))
    assert len(built) == count
    assert all(built)


def test_inference_mode(parts: Any) -> None:
    module = Net().eval()
    compiled = torch.compile(module, backend="fastconv")
    x = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        close(compiled(x), module(x))
        count = len(parts)
        inside = Net().eval()
        close(torch.compile(inside, backend="fastconv")(x), inside(x))
    # Those have no versions, so that changes of them could not be seen.
    assert len(parts) == count > 0


def test_memory_is_shared_inwards_and_results_are_their_own() -> None:
    seen: list[Any] = []
    run = fastconv.network.Network.__call__

    def spying(self: Any, *arrays: Any) -> Any:
        result = run(self, *arrays)
        seen.append((arrays, result if isinstance(result, tuple) else (result,)))
        return result

    def function(x: Any) -> Any:
        y = F.avg_pool2d(x, 2)
        return x.clone(), y, y.clone()

    x = torch.randn(1, 2, 4, 4)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(fastconv.network.Network, "__call__", spying)
        first, second, third = torch.compile(function, backend="fastconv")(x)
    ((given,), made), *_ = seen
    assert np.shares_memory(given, x.numpy())
    assert any(np.shares_memory(array, second.numpy()) for array in made)
    for left, right in ((first, x), (second, third), (first, second)):
        assert not np.shares_memory(left.numpy(), right.numpy())
    first.zero_()
    second.zero_()
    assert x.abs().sum() > 0
    assert third.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes(dtype: Any, parts: Any) -> None:
    module = Net().eval().to(dtype)
    x = torch.randn(2, 3, 8, 8).to(dtype)
    with torch.no_grad():
        close(torch.compile(module, backend="fastconv")(x), module(x), 3e-2)
    assert len(parts) == 1


def test_views_mutations_and_strides(parts: Any) -> None:
    weight = torch.randn(3, 3, 1, 1)

    def function(x: Any, kept: Any) -> Any:
        y = F.conv2d(x, weight).permute(0, 2, 3, 1)
        kept.add_(y.sum())
        return y, y[..., 0], y.flatten(1, 2), x.transpose(1, 2)

    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    kept, wanted = torch.zeros(1), torch.zeros(1)
    with torch.no_grad():
        results = torch.compile(function, backend="fastconv")(x, kept)
        expected = function(x, wanted)
    close(kept, wanted)
    for result, right in zip(results, expected, strict=True):
        close(result, right)
        assert result.stride() == right.stride()
    assert parts


def test_operations_stay_whole(parts: Any) -> None:
    def function(x: Any) -> Any:
        y = F.interpolate(x, scale_factor=2, mode="bilinear")
        return F.instance_norm(F.interpolate(y, size=(9, 7), mode="bicubic"))

    x = torch.randn(2, 3, 6, 5)
    with torch.no_grad():
        close(torch.compile(function, backend="fastconv")(x), function(x))
    assert parts == [("upsample_bilinear2d", "upsample_bicubic2d", "instance_norm")]


def test_sizes_that_change(parts: Any) -> None:
    weight = torch.randn(4, 3, 3, 3)

    def function(x: Any) -> Any:
        y = F.conv2d(x, weight, padding=1)
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h * w)
        return F.avg_pool1d(y, 2) + h

    compiled = torch.compile(function, backend="fastconv", dynamic=True)
    with torch.no_grad():
        for shape in ((2, 3, 6, 8), (1, 3, 5, 7), (3, 3, 6, 8)):
            x = torch.randn(*shape)
            close(compiled(x), function(x))
    assert len(parts) >= 3


def test_strides_that_depend_on_data_stay_with_torch(parts: Any) -> None:
    weight = torch.randn(5, 2)

    def function(x: Any) -> Any:
        y = F.linear(x.nonzero().to(x.dtype), weight).softmax(-1)
        return y.t().contiguous().t().exp(), F.max_pool2d(x[None], 2)

    x = torch.randn(8, 8)
    with torch.no_grad(), torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        results = torch.compile(function, backend="fastconv", fullgraph=True)(x)
    for result, expected in zip(results, function(x), strict=True):
        close(result, expected)
        assert result.stride() == expected.stride()
    assert parts


def test_torch_finds_the_backend_by_its_entry_point() -> None:

    root = Path(__file__).resolve().parents[2]
    text = (root / "pyproject.toml").read_text()
    found = re.search(r'torch_dynamo_backends\]\nfastconv = "(.+):(.+)"', text)
    assert found is not None
    module, name = found.groups()
    assert getattr(import_module(module), name) is fastconv.torch.compile_graph
    assert "fastconv" in torch._dynamo.list_backends()
