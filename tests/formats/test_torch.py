"""PyTorch modules as networks: calls one by one, sizes that stay open, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations as normed

import fastconv
from fastconv.formats.torch.guards import condition
from fastconv.network.sizes import evaluate
from tests.converted import Fn, check, image

X = (2, 4, 10, 12)
OTHER = (3, 4, 14, 9)

# Functions of one image, compared at two sizes.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "relu_": lambda x: F.relu(x * 2, inplace=True) + x,
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7),
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.8),
    "softplus": lambda x: F.softplus(x, 2.0, 5.0),
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "glu": lambda x: F.glu(x, 1),
    "tanhshrink": lambda x: x - x.tanh(),
    "softmax": lambda x: x.softmax(1) + F.log_softmax(x, -1),
    "max_pool": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_pool_dilated": lambda x: F.max_pool2d(x, 2, 1, 0, (2, 3)),
    "max_pool_places": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool_divisor": lambda x: F.avg_pool2d(x, (2, 3), divisor_override=5),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 2)) + F.adaptive_max_pool2d(x, (3, 2)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=(1.5, 2.0), mode="bilinear"),
    "corners": lambda x: F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, size=(17, 19), mode="bicubic"),
    "twice": lambda x: F.interpolate(x, size=(2 * x.shape[2], x.shape[3] + 1), mode="bilinear"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=0.5),
    "pad_reflect": lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"),
    "pad_circular": lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"),
    "pad_to": lambda x: F.pad(x, (0, 16 - x.shape[3], 0, 16 - x.shape[2])),
    "unfold": lambda x: F.unfold(x, 3, stride=2),
    "shuffle": lambda x: x.view(x.shape[0], 2, 2, *x.shape[2:]).transpose(1, 2).flatten(1, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "flatten": lambda x: x.flatten(2).transpose(1, 2),
    "permute": lambda x: x.permute(0, 2, 3, 1).contiguous(),
    "split": lambda x: torch.cat(x.split([1, 3], dim=1)[::-1], 1),
    "chunk": lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1],
    "unbind": lambda x: torch.stack(x.unbind(1), -1),
    "slice": lambda x: x[:, 1:, ::2, -3:],
    "cut_to": lambda x: x[:, :, : x.shape[2] // 2, x.shape[3] // 3 :],
    "select": lambda x: x[:, -1] + x[:, 0, :, :],
    "flip": lambda x: x.flip(2, 3),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "expand": lambda x: x.mean((2, 3), keepdim=True).expand_as(x) - x,
    "mean": lambda x: x.mean((2, 3)),
    "mean_one": lambda x: x.mean(1, keepdim=True),
    "sum": lambda x: x.sum() + x.sum(1),
    "amax": lambda x: x.amax((1, 2)) - x.amin((1, 2)),
    "max": lambda x: x.max(1)[0] + x.min(1).values,
    "places": lambda x: x.max(3)[1] + x.argmin(3) + x.argmax(),
    "waves": lambda x: x.sin() + x.cos() * x.tanh().asin() + torch.erf(x) + torch.expm1(x),
    "var": lambda x: x.var(1) + x.std(1, unbiased=False),
    "arithmetic": lambda x: (2 - x) / 3 + x**2 * 0.5 - x.square().sqrt() + x.abs() ** 1.5,
    "alpha": lambda x: torch.sub(torch.add(x, x.tanh(), alpha=0.3), 1, alpha=2),
    "roots": lambda x: (x.abs() + 1).rsqrt() + (x.abs() + 1).log() + x.exp().reciprocal(),
    "rounding": lambda x: (3 * x).floor() + (3 * x).ceil() - (3 * x).round() + x.sign(),
    "remainder": lambda x: (5 * x) % 2 + (5 * x).floor_divide(3),
    "clamp": lambda x: x.clamp(-0.5, 0.5) + x.clamp_min(0.1) + x.clamp(max=0.2),
    "where": lambda x: torch.where((x > 0) & ~(x >= 1), x, -1.0),
    "compare": lambda x: (x != x.floor()) | (x < 0) | (x == 1),
    "maximum": lambda x: torch.maximum(x, -x) + torch.minimum(x, x.tanh()),
    "cast": lambda x: x.double() * 0.1 + (x > 0) + x.long(),
    "integers": lambda x: (x * 10).int() * 3 - 1,
    "grid": lambda x: x + torch.arange(x.shape[3]) * 0.1 - torch.ones(x.shape[2], 1),
    "zeros": lambda x: torch.cat([x, torch.zeros_like(x), torch.full_like(x, 2)], 1),
    "linear": lambda x: F.linear(x.transpose(1, 3), W),
    "matmul": lambda x: x @ x.transpose(2, 3),
    "matmul_weight": lambda x: x.transpose(1, 3) @ W.T,
    "instance_norm": lambda x: F.instance_norm(x),
    "group_norm": lambda x: F.group_norm(x, 2, W[0], W[1]),
    "layer_norm": lambda x: F.layer_norm(x.transpose(1, 3), (4,), W[0], W[1]),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "prelu": lambda x: F.prelu(x, W[0].abs()),
    "conv_weight_made": lambda x: F.conv2d(x, (W[:, :, None, None] * 2).tanh()),
    "dropouts": lambda x: F.dropout2d(F.dropout(x, training=False), training=False),
    "normalised": lambda x: F.normalize(x, dim=1),
    "sort": lambda x: x.sort(2)[0] + x.sort(-1, descending=True).values,
    "sort_places": lambda x: x.round().sort(dim=1, stable=True, descending=True)[1],
    "argsort": lambda x: x.argsort(-1) + x.argsort(3, descending=True),
    "topk": lambda x: x.topk(3, -1)[0] - x.topk(3, 3, largest=False)[0],
    "topk_places": lambda x: x.topk(2, 1)[1],
    "sort_nan": lambda x: torch.where(x > 1, torch.nan, x).sort(1, descending=True)[0].isnan(),
    "cumsum": lambda x: x.cumsum(1) + x.cumsum(-1, dtype=torch.float32),
    "cumprod": lambda x: x.cumprod(2) + (x > 0).cumsum(3),
    "cumsum_integers": lambda x: (x * 10).int().cumsum(2),
    "gather": lambda x: (
        x.gather(1, x.argmax(1, keepdim=True)) + x.gather(2, x.argmin(2, keepdim=True))
    ),
    "masked_fill": lambda x: x.masked_fill(x > 0.5, -1) + x.masked_fill(x[:, :1] < 0, x.sum()),
    "masked_fill_integers": lambda x: (x * 5).int().masked_fill(x > 0, 7),
    "triangles": lambda x: x.tril() + x.triu(1) + x.tril(-2),
    "special": lambda x: (x / (x > 0)).isinf() | (x * torch.inf).isnan(),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1),
    "attention_causal": lambda x: F.scaled_dot_product_attention(
        x, x[:, :, :-2], x[:, :, 2:], is_causal=True, scale=0.3
    ),
    "attention_mask": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=x[:, :, :, :1] > x[:, :1, :1, :1].sum()
    ),
    "attention_added": lambda x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=x[:, :, :, :1] @ x[:, :, :, :1].transpose(2, 3)
    ),
    "crop_odd": lambda x: x[..., : x.shape[-1] - x.shape[-1] % 2],
}
W = torch.linspace(-1, 1.5, 16).reshape(4, 4)


# Exporting takes longer than running: several functions go in one module.
GROUPS = [list(FUNCTIONS)[start::6] for start in range(6)]


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_calls_are_torch_s(names: list[str]) -> None:
    def all_of(x: Any) -> Any:
        return {name: FUNCTIONS[name](x) for name in names}

    check(Fn(all_of), image(*X), again=(image(*OTHER),))


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 5, 2, 4, 2, 2), (2, 4, 20), (1, 4, 31)),
    "conv2d_same": (lambda: nn.Conv2d(4, 6, 4, padding="same"), X, OTHER),
    "conv2d_reflect": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), X, OTHER),
    "conv2d_circular": (lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), X, OTHER),
    "conv2d_one_image": (lambda: nn.Conv2d(4, 6, 3), X[1:], OTHER[1:]),
    "conv3d": (lambda: nn.Conv3d(4, 6, 3, (1, 2, 2), 1), (1, 4, 5, 6, 7), (2, 4, 4, 8, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), X, OTHER),
    "transposed1d": (lambda: nn.ConvTranspose1d(4, 6, 4, 3, 1, 2), (2, 4, 9), (1, 4, 5)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), X, OTHER),
    "transposed3d": (lambda: nn.ConvTranspose3d(4, 2, 2, 2), (1, 4, 3, 4, 5), (2, 4, 2, 3, 3)),
    "batch_norm1d": (lambda: nn.BatchNorm1d(4), (3, 4), (5, 4)),
    "batch_norm3d": (lambda: nn.BatchNorm3d(4, affine=False), (2, 4, 3, 4, 5), (1, 4, 2, 3, 3)),
    "instance_norm": (lambda: nn.InstanceNorm2d(4, affine=True), X, OTHER),
    "instance_norm_kept": (lambda: nn.InstanceNorm2d(4, track_running_stats=True), X, OTHER),
    "prelu": (lambda: nn.PReLU(4), X, OTHER),
    "rrelu": (lambda: nn.RReLU(), X, OTHER),
    "linear": (lambda: nn.Linear(12, 5), X, (7, 12)),
    "upsample3d": (
        lambda: nn.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 3, 4, 5), (2, 2, 2, 2, 2)
    ),
    "max_pool1d": (lambda: nn.MaxPool1d(3, 2), (2, 4, 11), (1, 4, 11)),  # torch fixes the length
    "avg_pool1d": (lambda: nn.AvgPool1d(3, 2, 1), (2, 4, 11), (1, 4, 20)),
    "avg_pool3d": (lambda: nn.AvgPool3d(2), (1, 2, 4, 5, 6), (2, 2, 5, 4, 4)),
    "spectral_norm": (lambda: normed.spectral_norm(nn.Conv2d(4, 6, 3)), X, OTHER),
    "weight_norm": (lambda: normed.weight_norm(nn.Conv2d(4, 6, 3)), X, OTHER),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_torch_s(name: str) -> None:
    make, shape, other = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    for key, buffer in layer.named_buffers():
        if "running" in key:
            nn.init.uniform_(buffer, 0.5, 1.5)
    again = (image(*other),) if len(other) == len(shape) else None
    check(layer, image(*shape), again=again)


def test_constants_alone_are_computed_beforehand() -> None:
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))
    network = check(layer, image(*X))
    kinds = [step.kind for step in network.trace(X).steps]
    assert kinds == ["conv2d"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes_stay(dtype: Any) -> None:
    layers = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2))
    module = layers.to(dtype).eval()
    x = image(*X, dtype=dtype)
    network = fastconv.torch.convert(module, x)
    array = x.numpy() if dtype != torch.bfloat16 else x.float().numpy().astype(ml_dtypes.bfloat16)
    result = network(array)
    assert str(dtype).endswith(result.dtype.name)
    with torch.no_grad():
        expected = module.double()(x.double()).numpy()
    eps = {torch.float64: 1e-14, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    np.testing.assert_allclose(result.astype("f8"), expected, rtol=0, atol=4 * eps * 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_modules_of_16_bit_floats_round_their_outputs_alone(dtype: Any) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 16, 3)
            self.norm = nn.LayerNorm(16)
            self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

        def forward(self, x: Any) -> Any:
            rows = self.conv(x).flatten(2).transpose(1, 2)
            # Modules cast on the way, so that norms do not overflow.
            rows = rows + self.norm(rows.float().to(rows.dtype))
            return rows, rows + self.down(nn.functional.gelu(self.up(rows)))

    torch.manual_seed(0)
    module = Block().to(dtype).eval()
    x = image(*X, dtype=dtype)
    network = fastconv.torch.convert(module, x)
    array = x.numpy() if dtype != torch.bfloat16 else x.float().numpy().astype(ml_dtypes.bfloat16)
    results = network(array)
    with torch.no_grad():
        wanted = [value.double().numpy() for value in module.to(torch.float32)(x.float())]
    for result, expected in zip(results, wanted, strict=True):
        assert str(dtype).endswith(result.dtype.name)
        # Half a unit in the last place, and float32's own errors.
        np.testing.assert_allclose(
            result.astype("f8"), expected, rtol=torch.finfo(dtype).eps / 2, atol=1e-5
        )
    program = network.compiled(X).program
    narrow = [v for v, spec in program.values.items() if spec.dtype.itemsize == 2]
    assert set(narrow) == {*program.inputs, *program.outputs}


def test_rounding_that_a_float32_module_asks_for_stays() -> None:
    class Rounding(nn.Module):
        def forward(self, x: Any) -> Any:
            return (x * 3).half().float()

    x = image(*X)
    result = fastconv.torch.convert(Rounding(), x)(x.numpy())
    np.testing.assert_array_equal(result, (x * 3).half().float().numpy())


def test_several_inputs_and_outputs_keep_names() -> None:
    class Two(nn.Module):
        def forward(self, left: Any, right: Any) -> Any:
            both = left + right
            return {"sum": both, "parts": (left * 2, both), "right": right}

    x, y = image(2, 3, 4), image(2, 3, 1)
    network = fastconv.torch.convert(Two(), (x, y))
    assert [port.name for port in network.inputs] == ["left", "right"]
    names = [port.name for port in network.outputs]
    assert names[0] == "sum"
    assert len(set(names)) == 4
    results = network(x.numpy(), y.numpy())
    for result, wanted in zip(results, (x + y, x * 2, x + y, y), strict=True):
        np.testing.assert_array_equal(result, wanted.numpy())
    by_name = network.run(["sum"], {"right": y.numpy(), "left": x.numpy()})
    np.testing.assert_array_equal(by_name[0], (x + y).numpy())


def test_an_input_and_a_weight_may_be_outputs() -> None:
    layer = nn.Conv2d(4, 6, 3)
    network = fastconv.torch.convert(Fn(lambda x: (x, W.clone())), image(*X))
    x = image(*X).numpy()
    first, second = network(x)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second, W.numpy())
    assert layer is not None


class Guarded(nn.Module):
    """Decides by sizes while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 4 * 4, 2)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        if x.shape[-1] > 12:
            x = x * 2
        return self.fc(F.max_pool2d(x, 4).flatten(1))


def test_sizes_that_the_module_takes_for_granted_are_checked() -> None:
    module = Guarded().eval()
    network = check(module, image(1, 3, 16, 16), again=(image(4, 3, 17, 19),))
    assert network.inputs[0].shape == ("batch", 3, "x_2", "x_3")
    assert network.outputs[0].shape == ("batch", 2)
    for shape in ((1, 3, 12, 12), (1, 3, 32, 16), (1, 3, 3, 16)):
        with pytest.raises(ValueError, match=r"sizes must satisfy .*x.shape"):
            network(np.zeros(shape, np.float32))
    # 64 cells too, but traced on the other side of the branch.
    with pytest.raises(ValueError, match=r"sizes must satisfy x\.shape\[3\] > 12"):
        network(np.zeros((1, 3, 32, 8), np.float32))
    with pytest.raises(ValueError, match="takes shape any x 3 x any x any"):
        network(np.zeros((1, 4, 16, 16), np.float32))
    empty = network(np.zeros((0, 3, 16, 16), np.float32))
    assert empty.shape == (0, 2)


def test_networks_are_saved_with_their_conditions(tmp_path: Path) -> None:
    network = fastconv.torch.convert(Guarded().eval(), image(1, 3, 16, 16))
    network.save(tmp_path / "guarded.fastconv")
    x = image(2, 3, 16, 17).numpy()
    for other in (
        fastconv.load(tmp_path / "guarded.fastconv"),
        pickle.loads(pickle.dumps(network)),
    ):
        np.testing.assert_array_equal(other(x), network(x))
        with pytest.raises(ValueError, match=r"sizes must satisfy x\.shape\[3\] > 12"):
            other(np.zeros((1, 3, 32, 8), np.float32))


@pytest.mark.parametrize(
    ("code", "holds"),
    [
        ("L['x'].size()[0] == 3", True),
        ("(L['x'].size()[1] // 2) % 2 != 0 and 1 < L['x'].size()[0] <= 3", True),
        ("not (L['x'].size()[0] > 3 or -L['x'].size()[1] < -7)", True),
        ("max(L['x'].size()[0], L['y'][1].size()[0]) - abs(-2) == 7", True),
        ("L['x'].size()[0] * L['x'].size()[1] + 1 >= 23", False),
    ],
)
def test_conditions_are_python_s(code: str, holds: bool) -> None:
    _, expression = condition(code, {"x": 0, "y_1": 1})
    assert bool(evaluate(expression, [(3, 7), (9,)])) is holds


@pytest.mark.parametrize("code", ["L['z'].size()[0] == 1", "f(3) == 3", "L['x'].dim() == 2", "x"])
def test_conditions_of_another_kind_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        condition(code, {"x": 0})
    with pytest.raises(ValueError, match="divided by zero"):
        evaluate(condition("3 % L['x'].size()[0] == 1", {"x": 0})[1], [(0,)])
    with pytest.raises(ValueError, match="not worked out"):
        evaluate(("**", ("number", 9), ("number", 9)), [])


@pytest.mark.parametrize(("open_sizes", "shape"), [("batch", ("batch", 4, 10, 12)), ("none", X)])
def test_sizes_stay_closed_where_that_is_asked_for(open_sizes: str, shape: Any) -> None:
    network = fastconv.torch.convert(nn.ReLU(), image(*X), open_sizes=open_sizes)
    assert network.inputs[0].shape == shape
    with pytest.raises(ValueError, match="takes shape"):
        network(np.zeros(OTHER, np.float32))


def test_unsupported_operators_are_named_all_at_once() -> None:
    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.lgamma() + torch.histc(x.erfc(), 4)[0] + x.erfinv().sum()

    with pytest.raises(ValueError, match="unsupported operators") as caught:
        fastconv.torch.convert(Odd(), image(*X))
    for name in ("lgamma", "histc", "erfc", "erfinv"):
        assert name in str(caught.value)


def test_attention_is_torch_s() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    network = check(layer, image(2, 5, 16), again=(image(3, 5, 16),))
    assert network.compiled((2, 5, 16)).executor is not None
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    mask[2] = False  # a row that sees nothing gives nothing
    attend = F.scaled_dot_product_attention
    check(Fn(lambda x: attend(x, x, x, attn_mask=mask)), image(2, 4, 5, 8))
    shared = Fn(lambda x: attend(x, x[:, :2], x[:, :2], enable_gqa=True))
    check(shared, image(2, 4, 5, 8))
    check(Fn(lambda x: attend(x, x, x, is_causal=True, scale=0.3)), image(2, 4, 5, 8))


def test_what_cannot_be_a_network_is_refused() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            self.count.add_(1)
            return x * self.count

    with pytest.raises(ValueError, match="changes 'count'"):
        fastconv.torch.convert(Counts(), image(*X))
    with pytest.raises(ValueError, match="unsupported operators: aten"):
        fastconv.torch.convert(Fn(lambda x: x + torch.randn(12)), image(*X))
    with pytest.raises(ValueError, match="cannot trace"):
        fastconv.torch.convert(Fn(lambda x: x if x.sum() > 0 else -x), image(*X))
    with pytest.raises(ValueError, match="example_inputs"):
        fastconv.torch.convert(nn.ReLU())
    with pytest.raises(TypeError, match="must be tensors"):
        fastconv.torch.convert(nn.ReLU(), (np.zeros(3),))
    with pytest.raises(TypeError, match="module must be"):
        fastconv.torch.convert("model.pt", image(*X))
    with pytest.raises(ValueError, match="open_sizes"):
        fastconv.torch.convert(nn.ReLU(), image(*X), open_sizes="some")
    with pytest.raises(ValueError, match="dtype float8"):
        fastconv.torch.convert(nn.Identity(), image(*X).to(torch.float8_e4m3fn))


@pytest.mark.parametrize("module", [nn.ReLU(), nn.Sequential(nn.Conv2d(3, 4, 3))])
def test_compile_of_a_torch_module_names_convert(module: Any) -> None:
    with pytest.raises(TypeError, match=r"use fastconv\.torch\.convert"):
        fastconv.compile(module, (1, 3, 8, 8))


def test_the_module_stays_as_it_is() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    module[1].eval()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    network = fastconv.torch.convert(module, image(*X))
    assert [part.training for part in module] == [True, False, True]
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    x = image(*X).numpy()
    first = network(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(network(x), first)


def test_an_exported_program_is_taken_too() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    batch = torch.export.Dim("batch", min=2, max=9)
    program = torch.export.export(module, (image(*X),), dynamic_shapes=({0: batch},))
    network = fastconv.torch.convert(program)
    x = image(3, *X[1:])
    with torch.no_grad():
        np.testing.assert_allclose(network(x.numpy()), module(x).numpy(), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="takes shape"):
        network(np.zeros((2, 4, 11, 12), np.float32))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.relu(), x.view(-1))[0].add_(1),
        lambda x: chained(x),
    ],
)
def test_values_changed_in_place_are_those_that_torch_gives(function: Callable[[Any], Any]) -> None:
    check(Fn(function), image(*X))


def chained(x: Any) -> Any:
    y = F.conv2d(x, W[:, :, None, None])
    before = y * 1
    flat = y.flatten(1)
    y.add_(1)
    z = y.relu_()
    y *= 2
    return before + z, flat * 1, y


def test_summary_names_the_module_s_layers() -> None:
    module = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(8, 4, 3)))
    summary = str(fastconv.torch.convert(module, image(*X)).summary(X))
    assert "1.1" in summary
    assert f"{sum(p.numel() for p in module.parameters()):,} parameters" in summary
