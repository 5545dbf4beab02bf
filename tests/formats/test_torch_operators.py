"""Translations of PyTorch's operators and layers, each compared with torch at several sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fastconv
from tests.converted import Fn, check, compare, image

X = (2, 4, 10, 12)
W = torch.linspace(-1, 1.5, 16).reshape(4, 4)


def _set_items(x: Any) -> Any:
    y = x.clone()
    y[:, 0] = 1
    y[:, -1] = x[:, 2]
    y[:, 1, 2:-1, ::2] = x[:, 0, 2:-1, ::2] * 3
    y[x > 1] = -1
    return y


def _set_slice(x: Any) -> Any:
    y = torch.zeros_like(x)
    y[:, :, 1:-1, ::2] = x[:, :, 1:-1, ::2]
    return y


def _complex(x: Any) -> Any:
    y = torch.complex(x, x.flip(1))
    return (y * y.conj()).real + y.imag + (y.conj() * 2).imag + torch.view_as_real(y).sum(-1)


# Functions of one image.
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "squeeze": lambda x: x[:, :1].squeeze(1) + x[:, :, :1].squeeze().sum(),
    "roll": lambda x: x.roll(2, 1) + torch.roll(x, (1, -2), (2, 3)) + torch.roll(x, 3),
    "grid_sample": lambda x: F.grid_sample(
        x, x[:, :2].permute(0, 2, 3, 1).tanh(), align_corners=False
    ),
    "grid_sample_n": lambda x: F.grid_sample(
        x,
        x[:, :2].permute(0, 2, 3, 1).tanh() * 1.3,
        mode="nearest",
        padding_mode="border",
        align_corners=True,
    ),
    "grid_sample_b": lambda x: F.grid_sample(
        x,
        x[:, :2].permute(0, 2, 3, 1).tanh() * 1.3,
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    ),
    "affine": lambda x: F.grid_sample(
        x,
        F.affine_grid(
            torch.tensor([[[1.0, 0.2, 0.1], [0, 0.8, 0]]]).expand(x.shape[0], 2, 3),
            x.shape,
            align_corners=False,
        ),
        align_corners=False,
    ),
    "log10": lambda x: x.abs().log10() + x.abs().log2() + x.abs().log1p() + x.expm1() + x.exp2(),
    "rfft": lambda x: torch.fft.rfft(x).abs() + torch.fft.rfft(x, norm="ortho").real,
    "irfft": lambda x: torch.fft.irfft(torch.fft.rfft(x)),
    "fft": lambda x: torch.fft.fft(x).abs(),
    "ifft": lambda x: torch.fft.ifft(torch.fft.fft(x)).real,
    "rfft2": lambda x: torch.fft.rfft2(x).abs(),
    "irfft2": lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:]),
    "fft2": lambda x: torch.fft.fft2(x).imag,
    "fftshift": lambda x: torch.fft.fftshift(x),
    "stft": lambda x: torch.stft(
        x.flatten(1), 32, 8, window=torch.hann_window(32), return_complex=True
    ).abs(),
    "stft_nowin": lambda x: torch.view_as_real(
        torch.stft(x.flatten(1), 32, window=torch.ones(32), return_complex=True, center=False)
    ),
    "istft": lambda x: torch.istft(
        torch.stft(x.flatten(1), 32, 8, window=torch.hann_window(32), return_complex=True),
        32,
        8,
        window=torch.hann_window(32),
    ),
    "unfold": lambda x: x.unfold(2, 4, 2) + x.unfold(2, 4, 2).sum(),
    "F.unfold": lambda x: F.unfold(x, 3, padding=1),
    "fold": lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1),
    "cumsum": lambda x: x.cumsum(1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "cummax": lambda x: x.cummax(1)[0],
    "flip": lambda x: x.flip(1),
    "fliplr": lambda x: x[0].fliplr(),
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "repeat_interleave_f": lambda x: x.repeat_interleave(3),
    "tril": lambda x: x.tril() + x.triu(1),
    "where": lambda x: torch.where(x > 0, x, 0),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1),
    "index_select": lambda x: x.index_select(1, torch.tensor([0, 2])),
    "gather": lambda x: x.gather(1, x.argsort(1)),
    "topk": lambda x: x.topk(2, 1)[0],
    "sort": lambda x: x.sort(1)[0],
    "argmax": lambda x: x.argmax(1) + x.argmax(),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, x.argsort(1), x),
    "scatter_v": lambda x: x.scatter(1, x.argmax(1, keepdim=True), 1.0),
    "scatter_add": lambda x: x.scatter_add(1, x.argsort(1), x),
    "scatter_reduce": lambda x: x.scatter_reduce(1, x.argsort(1), x, "amax"),
    "index_add": lambda x: x.index_add(1, torch.tensor([0, 2]), x[:, :2]),
    "index_put": lambda x: x.index_put((torch.tensor([0]),), x[:1]),
    "one_hot": lambda x: F.one_hot(x.argmax(1), 4),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "celu": lambda x: F.celu(x),
    "hardtanh": lambda x: F.hardtanh(x),
    "threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "logsigmoid": F.logsigmoid,
    "normalize": lambda x: F.normalize(x, dim=1) + F.normalize(x, p=1),
    "normp3": lambda x: F.normalize(x, p=3.0),
    "cosine": lambda x: F.cosine_similarity(x, x.flip(1)),
    "cdist": lambda x: torch.cdist(x[:, 0], x[:, 1]),
    "cdist1": lambda x: torch.cdist(x[:, 0], x[:, 1], p=1),
    "pdist": lambda x: F.pairwise_distance(x, x.flip(1)),
    "norms": lambda x: (
        x.norm()
        + x.norm(dim=1)
        + x.norm(p=float("inf"), dim=1)
        + torch.linalg.vector_norm(x, ord=3, dim=1)
        + x.norm(p=1)
    ),
    "fro": lambda x: torch.linalg.matrix_norm(x),
    "logsumexp": lambda x: x.logsumexp(1),
    "std_mean": lambda x: torch.std_mean(x, 1)[0] + torch.var_mean(x)[0],
    "median": lambda x: x.median(1)[0],
    "quantile": lambda x: x.quantile(0.3, 1),
    "kthvalue": lambda x: x.kthvalue(2, 1)[0],
    "aminmax": lambda x: torch.aminmax(x, dim=1)[0],
    "any": lambda x: (x > 0).any(1) | (x > 0).all(1) | (x > 9).any(),
    "count_nonzero": lambda x: x.relu().count_nonzero(1),
    "nansum": lambda x: x.nansum(1),
    "cumprod": lambda x: x.cumprod(1),
    "diff": lambda x: x.diff(dim=1),
    "atan2": lambda x: torch.atan2(x, x.flip(1)),
    "fmod": lambda x: torch.fmod(x * 5, 2.0) + torch.fmod(x * 5, x + 3),
    "trunc": lambda x: (
        (x * 5).trunc() + (x * 5).frac() + torch.div(x * 5, 2, rounding_mode="trunc")
    ),
    "round_d": lambda x: x.round(decimals=2),
    "lerp": lambda x: torch.lerp(x, x * 2, 0.3) + torch.lerp(x, x * 2, x),
    "addc": lambda x: torch.addcmul(x, x, x, value=0.5) + torch.addcdiv(x, x, x.abs() + 1),
    "hypot": lambda x: torch.hypot(x, x),
    "sinc": lambda x: x.sinc(),
    "logit": lambda x: x.sigmoid().logit(eps=1e-6),
    "xlogy": lambda x: torch.xlogy(x.abs(), x.abs()),
    "sgn": lambda x: x.sgn() + x.sign() + x.signbit(),
    "nan_to_num": lambda x: (x / x.relu()).nan_to_num(),
    "isfinite": lambda x: (x / x.relu()).isfinite(),
    "isclose": lambda x: torch.isclose(x, x * 1.000001),
    "heaviside": lambda x: torch.heaviside(x, torch.tensor(0.5)),
    "copysign": lambda x: torch.copysign(x, -x.abs()),
    "logaddexp": lambda x: torch.logaddexp(x, x * 2),
    "square": lambda x: x.square() + x.pow(3) + x ** x.abs() + 2**x,
    "bitops": lambda x: (x * 10).int() & 3 | ((x * 10).int() << 1) ^ 5,
    "deg": lambda x: x.deg2rad() + x.rad2deg(),
    "clampT": lambda x: x.clamp(x.min(), x.mean()),
    "float_power": lambda x: x.abs().float_power(2),
    "int_sum": lambda x: (x * 10).int().sum(1),
    "ldexp": lambda x: torch.ldexp(x, torch.tensor(2)),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "einsum2": lambda x: torch.einsum("bchw,cd->bdhw", x, W),
    "outer": lambda x: torch.outer(x[0, 0, 0], x[0, 0, 1]),
    "mv": lambda x: x[0, 0] @ x[0, 0, 0] @ x[0, 0, :, 0],
    "matvec": lambda x: x @ x[0, 0, 0],
    "dot": lambda x: x[0, 0, 0].dot(x[0, 0, 1]),
    "bmm": lambda x: x[:, 0].bmm(x[:, 1].mT),
    "baddbmm": lambda x: torch.baddbmm(x[:, 0, :, :10], x[:, 0], x[:, 1].mT, beta=0.5, alpha=2),
    "addmm": lambda x: torch.addmm(x[0, 0, :, :10], x[0, 0], x[0, 1].T, beta=0.5),
    "kron": lambda x: torch.kron(x[0, 0], W),
    "tensordot": lambda x: torch.tensordot(x, W, ([1], [0])),
    "diag": lambda x: (
        x[..., :10].diagonal(dim1=2, dim2=3) + torch.diag_embed(x[:, :, 0, :10]).sum()
    ),
    "trace": lambda x: x[0, 0].trace(),
    "bilinear": lambda x: F.bilinear(x, x, torch.ones(3, 12, 12)),
    "cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 1:], dim=1),
    "linspace": lambda x: x + torch.linspace(0, 1, 12),
    "linspace_open": lambda x: x + torch.linspace(0, 1, x.shape[3]),
    "eye": lambda x: x[:, :, :, :10] + torch.eye(x.shape[2]),
    "meshgrid": lambda x: torch.stack(
        torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
    ),
    "full": lambda x: torch.full((x.shape[0], 3), 2.0),
    "empty_like": lambda x: torch.empty_like(x).fill_(3),
    "idx2": lambda x: x[:, torch.tensor([0, 1]), torch.tensor([1, 2])],
    "idx_none": lambda x: x[:, None, ..., ::2],
    "idx_rel": lambda x: x[torch.arange(x.shape[0])[:, None], x.flatten(2).mean(2).argsort(1)],
    "idx_ax": lambda x: x[:, :, torch.tensor([[0, 1], [2, 3]])],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "movedim": lambda x: x.movedim(1, -1).swapaxes(1, 2),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "tile": lambda x: x.tile((1, 2, 1, 1)),
    "hstack": lambda x: torch.hstack((x, x)) + torch.vstack((x[:1], x[1:])).sum(),
    "dstack": lambda x: torch.dstack((x, x)),
    "column_stack": lambda x: torch.column_stack((x[0, 0], x[0, 1])),
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
    "broadcast_to": lambda x: x[:, :1].broadcast_to(x.shape),
    "atleast": lambda x: torch.atleast_3d(x[0, 0]),
    "view_as": lambda x: x.view_as(x),
    "chunk": lambda x: x.chunk(3, 3)[1],
    "unbind": lambda x: x.unbind(1)[0],
    "constant_pad": lambda x: F.pad(x, (1, 1, -1, 2)),
    "complex": lambda x: torch.complex(x, x).abs() + torch.polar(x.abs(), x).angle(),
    "complex_conv": lambda x: F.conv2d(
        torch.complex(x, x), torch.complex(W, W)[:, :, None, None]
    ).abs(),
    "softmin": lambda x: F.softmin(x, 1),
    "gumbel_no": lambda x: F.softmax(x / 2, 1),
    "hardshrink": lambda x: F.hardshrink(x) + F.softshrink(x) + F.tanhshrink(x),
    "rrelu": lambda x: F.rrelu(x),
    "lp_pool": lambda x: F.lp_pool2d(x, 2, 3) + F.lp_pool2d(x.abs(), 3, 3),
    "lp1": lambda x: F.lp_pool1d(x[:, 0], 2, 3),
    "fmp": lambda x: F.max_pool2d(x, 2, padding=1),
    "unpool": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "unpool1": lambda x: F.max_unpool1d(*F.max_pool1d(x[:, 0], 2, return_indices=True), 2),
    "area": lambda x: F.interpolate(x, (5, 6), mode="area"),
    "nexact": lambda x: F.interpolate(x, scale_factor=1.7, mode="nearest-exact"),
    "aa": lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", antialias=True),
    "rms": lambda x: F.rms_norm(x, (12,)),
    "lrn": lambda x: F.local_response_norm(x, 2),
    "embedding": lambda x: F.embedding(x.argmax(1), W),
    "bucketize": lambda x: torch.bucketize(x, torch.tensor([-1.0, 0, 1.0])),
    "searchsorted": lambda x: torch.searchsorted(torch.tensor([-1.0, 0, 1.0]), x),
    "trapz": lambda x: torch.trapezoid(x),
    "circpad": lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"),
    "glu": lambda x: F.glu(x),
    "dropout": lambda x: F.dropout(x, training=False),
    "vecnorm0": lambda x: torch.linalg.vector_norm(x, ord=0, dim=1),
    "renorm": lambda x: x.renorm(2, 1, 1.0),
    "mse": lambda x: F.mse_loss(x, x * 2) + F.l1_loss(x, x * 2) + F.smooth_l1_loss(x, x * 2),
    "ce": lambda x: F.cross_entropy(x, x.argmax(1)),
    "set_items": _set_items,
    "set_slice": _set_slice,
    "complex_arithmetic": _complex,
    "pairs_as_complex": lambda x: torch.view_as_complex(x.unflatten(3, (6, 2))).abs(),
    "grid_of_maps": lambda x: F.affine_grid(
        x[:, 0, :2, :3], [x.shape[0], 4, 5, 6], align_corners=False
    ),
    "sampled_volume": lambda x: F.grid_sample(
        x[:, None], x[:, :3].permute(0, 2, 3, 1)[:, None].tanh(), align_corners=False
    ),
    "norm_of_fft": lambda x: torch.fft.irfft(torch.fft.rfft(x, norm="forward"), n=9, norm="ortho"),
}
NAMES = list(FUNCTIONS)
GROUPS = [NAMES[start::14] for start in range(14)]


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_operators_are_torch_s(names: list[str]) -> None:
    def all_of(x: Any) -> Any:
        return {name: FUNCTIONS[name](x) for name in names}

    module = Fn(all_of)
    check(module, image(*X), tolerance=2e-5)
    # A batch of 1, for which a second network may be needed.
    check(module, image(1, *X[1:]), tolerance=2e-5)


class Attends(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(8, 2, **options)

    def forward(self, x: Any) -> Any:
        return self.layer(x, x * 2, x + 1)


class Unpools(nn.Module):
    """A maximum pool and its partial inverse, in images of the first one's size."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.pool = getattr(nn, f"MaxPool{n}d")(2, return_indices=True)
        self.unpool = getattr(nn, f"MaxUnpool{n}d")(2)

    def forward(self, x: Any) -> Any:
        return self.unpool(*self.pool(x), output_size=x.shape)


IMAGES = {1: (2, 4, 15), 2: X, 3: (2, 3, 4, 6, 8)}
SEQUENCE = (2, 5, 8)
Case = tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]
_MODES = {1: ("linear",), 2: ("bilinear", "bicubic"), 3: ("trilinear",)}


def _spatial(n: int) -> dict[str, Callable[[], nn.Module]]:
    """Return layers of images of n dimensions."""

    def layer(name: str, *args: Any, **options: Any) -> Callable[[], nn.Module]:
        return lambda: getattr(nn, f"{name}{n}d")(*args, **options)

    c = IMAGES[n][1]
    made = {
        f"conv_{mode}": layer("Conv", c, 6, 3, padding=1, padding_mode=mode)
        for mode in ("zeros", "reflect", "replicate", "circular")
    }
    for mode in (*_MODES[n], "nearest", "nearest-exact"):
        made[f"up_{mode}"] = lambda mode=mode: nn.Upsample(scale_factor=1.6, mode=mode)
        made[f"up_to_{mode}"] = lambda mode=mode: nn.Upsample(size=7, mode=mode)
    for mode in _MODES[n]:
        options = {"mode": mode, "align_corners": True}
        made[f"up_corners_{mode}"] = lambda options=options: nn.Upsample(scale_factor=2, **options)
    return {
        **made,
        "conv_transpose": layer("ConvTranspose", c, 6, 3, 2, 1, 1),
        "max_pool": layer("MaxPool", 3, 2, 1, ceil_mode=True),
        "max_pool_places": layer("MaxPool", 2, return_indices=True),
        "avg_pool": layer("AvgPool", 2, 2, 1, count_include_pad=False),
        "lp_pool": layer("LPPool", 2, 2),
        "lp_pool_odd": layer("LPPool", 3, 2, 1),
        "adaptive_avg": layer("AdaptiveAvgPool", 3),
        "adaptive_max": layer("AdaptiveMaxPool", 3, return_indices=True),
        "reflection_pad": layer("ReflectionPad", 2),
        "replication_pad": layer("ReplicationPad", 2),
        "zero_pad": layer("ZeroPad", 2),
        "constant_pad": layer("ConstantPad", 2, 3.5),
        "circular_pad": layer("CircularPad", 1),
        "batch_norm": layer("BatchNorm", c),
        "instance_norm": layer("InstanceNorm", c, affine=True),
        "instance_norm_kept": layer("InstanceNorm", c, affine=True, track_running_stats=True),
        "dropout": layer("Dropout"),
        "max_unpool": lambda: Unpools(n),
    }


_ACTIVATIONS = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "CELU",
    "SELU",
    "GELU",
    "SiLU",
    "Mish",
    "Hardswish",
    "Hardsigmoid",
    "Hardtanh",
    "Softplus",
    "Softsign",
    "LogSigmoid",
    "Tanh",
    "Tanhshrink",
    "Sigmoid",
    "Hardshrink",
    "Softshrink",
    "PReLU",
    "RReLU",
    "GLU",
    "Identity",
    "Flatten",
    "AlphaDropout",
    "FeatureAlphaDropout",
    "Softmax2d",
]
_ENCODER = {"batch_first": True, "norm_first": True, "activation": "gelu"}
LAYERS: dict[str, Case] = {
    **{f"{k}{n}d": (make, (IMAGES[n],)) for n in IMAGES for k, make in _spatial(n).items()},
    **{name: (getattr(nn, name), (X,)) for name in _ACTIVATIONS},
    "softmax": (lambda: nn.Sequential(nn.Softmax(1), nn.Softmin(2), nn.LogSoftmax(-1)), (X,)),
    "threshold": (lambda: nn.Threshold(0.1, 20.0), (X,)),
    "prelu_of_channels": (lambda: nn.PReLU(4), (X,)),
    "linear": (lambda: nn.Linear(12, 5), (X,)),
    "bilinear": (lambda: nn.Bilinear(8, 8, 3), (SEQUENCE, SEQUENCE)),
    "layer_norm": (lambda: nn.LayerNorm((10, 12), elementwise_affine=False), (X,)),
    "group_norm": (lambda: nn.GroupNorm(2, 4), (X,)),
    "rms_norm": (lambda: nn.RMSNorm(12), (X,)),
    "local_response_norm": (lambda: nn.LocalResponseNorm(3), (X,)),
    "fold": (lambda: nn.Fold((4, 5), 2), ((2, 8, 12),)),
    "unfold": (lambda: nn.Unfold(3, padding=1), (X,)),
    "pixel_shuffle": (lambda: nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(2)), (X,)),
    "channel_shuffle": (lambda: nn.ChannelShuffle(2), (X,)),
    "unflatten": (lambda: nn.Unflatten(1, (2, 2)), (X,)),
    "attention": (lambda: Attends(batch_first=True), (SEQUENCE,)),
    "attention_sequence_first": (Attends, (SEQUENCE,)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (SEQUENCE,)),
    "encoder_norm_first": (lambda: nn.TransformerEncoderLayer(8, 2, 16, **_ENCODER), (SEQUENCE,)),
    "decoder": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), (SEQUENCE, SEQUENCE)
    ),
    "cosine_similarity": (nn.CosineSimilarity, (X, X)),
    "pairwise_distance": (nn.PairwiseDistance, (SEQUENCE, SEQUENCE)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_torch_s(name: str) -> None:
    make, shapes = LAYERS[name]
    torch.manual_seed(0)
    layer = make().eval()
    for key, buffer in layer.named_buffers():
        if "running" in key:
            nn.init.uniform_(buffer, 0.5, 1.5)
    inputs = [image(*shape) for shape in shapes]
    network = check(layer, *inputs)
    compare(network, layer, *(x[:1] for x in inputs))


# What stays refused: results of a shape that values decide, random numbers, other memory.
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "mask": (lambda x: x[x > 0].sum(), "a mask as an index"),
    "nonzero": (lambda x: x.relu().nonzero(), "nonzero"),
    "random": (lambda x: x + torch.rand(12), "rand"),
    "strides": (lambda x: x.as_strided((2, 3), (1, 2)), "as_strided"),
    "inverse": (lambda x: torch.linalg.inv(x[:, :, :4, :4]), "as it runs|unsupported operators"),
    "mean_of_rest": (lambda x: x.scatter_reduce(1, x.argsort(1), x, "mean"), "reduce='mean'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_operators_name_the_way_out(name: str) -> None:
    function, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as caught:
        fastconv.torch.convert(Fn(function), image(*X))
    assert "torch.compile" in str(caught.value) or "torch.onnx.export" in str(caught.value)
