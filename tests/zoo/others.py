"""Networks that give images, maps, boxes or signals, in plain torch, from their papers."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tests.zoo.parts import Branches, ConvNorm, Residual


class UNet(nn.Module):
    """Ronneberger et al., 2015, padded; one way up by a transposed convolution, one by resizing.

    Sizes that are not multiples of 8 are padded as they come up, as many implementations do.
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        pairs = list(zip((3, *widths), widths, strict=False))
        self.downs = nn.ModuleList(self.twice(a, b) for a, b in pairs)
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.ups = nn.ModuleList(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            if place == 0
            else nn.ConvTranspose2d(a, b, 2, 2)
            for place, (a, b) in enumerate(ups)
        )
        self.joins = nn.ModuleList(
            self.twice(a + b if place == 0 else 2 * b, b) for place, (a, b) in enumerate(ups)
        )
        self.out = nn.Conv2d(widths[0], 2, 1)

    @staticmethod
    def twice(before: int, after: int) -> nn.Module:
        return nn.Sequential(ConvNorm(before, after, 3), ConvNorm(after, after, 3))

    def forward(self, x: Any) -> Any:
        kept = []
        for place, layer in enumerate(self.downs):
            x = layer(x if place == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        for up, join, skip in zip(self.ups, self.joins, kept[-2::-1], strict=True):
            x = up(x)
            rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
            x = join(torch.cat([skip, x], dim=1))
        return self.out(x)


def bottleneck(before: int, middle: int, stride: int, dilation: int) -> nn.Module:
    after = 4 * middle
    body = nn.Sequential(
        ConvNorm(before, middle), ConvNorm(middle, middle, 3, stride, dilation=dilation),
        ConvNorm(middle, after, act=None),
    )  # fmt: skip
    plain = stride == 1 and before == after
    short = None if plain else ConvNorm(before, after, 1, stride, act=None)
    return Residual(body, short, nn.ReLU())


def backbone() -> tuple[nn.Module, nn.Module]:
    """A ResNet whose last two stages are dilated in the place of strides, in two pieces."""
    stages: list[nn.Module] = [ConvNorm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for middle, count, stride, dilation in ((64, 2, 1, 1), (64, 2, 2, 1), (128, 3, 1, 2)):
        for place in range(count):
            stages.append(bottleneck(before, middle, stride if place == 0 else 1, dilation))
            before = 4 * middle
    last = [bottleneck(512, 128, 1, 2), bottleneck(512, 128, 1, 4)]
    return nn.Sequential(*stages), nn.Sequential(*last)


class Pooled(nn.Module):
    """The image's mean, spread over the whole image again."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pool, self.conv = nn.AdaptiveAvgPool2d(1), ConvNorm(before, after)

    def forward(self, x: Any) -> Any:
        y = self.conv(self.pool(x))
        return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)


class Segmenter(nn.Module):
    """A backbone, a head and a second head from a stage before; both as large as the image."""

    def __init__(self, head: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.early, self.late = backbone()
        self.head, self.second = head, second

    def forward(self, x: Any) -> Any:
        size = x.shape[-2:]
        early = self.early(x)
        out = self.head(self.late(early))
        return {
            "out": F.interpolate(out, size=size, mode="bilinear", align_corners=False),
            "aux": F.interpolate(self.second(early), size, mode="bilinear", align_corners=False),
        }


def fcn_head(before: int, classes: int = 21) -> nn.Module:
    middle = before // 4
    return nn.Sequential(
        ConvNorm(before, middle, 3), nn.Dropout(0.1), nn.Conv2d(middle, classes, 1)
    )


def deeplab_v3() -> nn.Module:
    """Chen et al., 2017."""
    ways = [ConvNorm(512, 64), *(ConvNorm(512, 64, 3, dilation=d) for d in (12, 24, 36))]
    head = nn.Sequential(
        Branches(*ways, Pooled(512, 64)), ConvNorm(5 * 64, 64), nn.Dropout(0.5),
        ConvNorm(64, 64, 3), nn.Conv2d(64, 21, 1),
    )  # fmt: skip
    return Segmenter(head, fcn_head(512))


def fcn() -> nn.Module:
    """Long et al., 2015."""
    return Segmenter(fcn_head(512), fcn_head(512))


class Yolo(nn.Module):
    """Three scales, joined upwards, decoded to boxes by the cells' places as YOLOv3 and v5 do."""

    ANCHORS = torch.tensor(
        [[[10, 13], [16, 30]], [[33, 23], [30, 61]], [[62, 45], [59, 119]]], dtype=torch.float32
    )

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.classes = classes
        act = nn.SiLU
        self.stem = nn.Sequential(
            ConvNorm(3, 16, 6, 2, 2, act=act), ConvNorm(16, 32, 3, 2, act=act)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvNorm(a, b, 3, 2, act=act),
                Residual(
                    nn.Sequential(ConvNorm(b, b // 2, act=act), ConvNorm(b // 2, b, 3, act=act))
                ),
            )
            for a, b in ((32, 64), (64, 128), (128, 256))
        )
        self.squeeze = ConvNorm(256, 64, act=act)  # pyramid pooling: three pools in a row
        self.spp = ConvNorm(256, 256, act=act)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.narrow = nn.ModuleList([ConvNorm(256, 128, act=act), ConvNorm(128, 64, act=act)])
        self.joined = nn.ModuleList([ConvNorm(256, 128, act=act), ConvNorm(128, 64, act=act)])
        self.heads = nn.ModuleList(nn.Conv2d(c, 2 * (5 + classes), 1) for c in (64, 128, 256))
        self.register_buffer("anchors", self.ANCHORS.clone())

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        pools = [self.squeeze(x)]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        top = self.spp(torch.cat(pools, 1))
        middle = self.joined[0](torch.cat([self.up(self.narrow[0](top)), maps[1]], 1))
        low = self.joined[1](torch.cat([self.up(self.narrow[1](middle)), maps[0]], 1))
        boxes = [self.decode(place, y) for place, y in enumerate((low, middle, top))]
        return torch.cat(boxes, 1)

    def decode(self, place: int, y: Any) -> Any:
        y = self.heads[place](y)
        n, _, rows, columns = y.shape
        stride = 8 * 2**place
        y = y.view(n, 2, 5 + self.classes, rows, columns).permute(0, 1, 3, 4, 2).contiguous()
        down, along = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        grid = torch.stack((along, down), 2).view(1, 1, rows, columns, 2).to(y.dtype)
        y = y.sigmoid()
        centre = (y[..., 0:2] * 2.0 - 0.5 + grid) * stride
        size = (y[..., 2:4] * 2) ** 2 * self.anchors[place].view(1, 2, 1, 1, 2)
        return torch.cat((centre, size, y[..., 4:]), -1).view(n, -1, 5 + self.classes)


class WaveNet(nn.Module):
    """Van den Oord et al., 2016: dilated causal convolutions with gates, weights normalised."""

    def __init__(self, channels: int = 24, layers: int = 8) -> None:
        super().__init__()
        normed = torch.nn.utils.parametrizations.weight_norm
        self.first = nn.Conv1d(1, channels, 1)
        self.gated = nn.ModuleList(
            normed(nn.Conv1d(channels, 2 * channels, 2, dilation=2**i)) for i in range(layers)
        )
        self.kept = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(channels, 32, 1) for _ in range(layers))
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(32, 32, 1), nn.ReLU(), nn.Conv1d(32, 64, 1))

    def forward(self, x: Any) -> Any:
        x, total = self.first(x), 0
        for place, gated in enumerate(self.gated):
            wide = gated(F.pad(x, (2**place, 0)))
            value, gate = wide.split(wide.shape[1] // 2, dim=1)
            y = torch.tanh(value) * torch.sigmoid(gate)
            total = total + self.skips[place](y)
            x = (x + self.kept[place](y)) * 0.7071
        return F.log_softmax(self.last(total), dim=1)


def c3d() -> nn.Module:
    """Tran et al., 2015, at a quarter of its width."""
    layers: list[nn.Module] = []
    before = 3
    for place, after in enumerate((16, 32, 64, 64, 128, 128, 128, 128)):
        layers += [nn.Conv3d(before, after, 3, padding=1), nn.ReLU()]
        before = after
        if place == 0:
            layers.append(nn.MaxPool3d((1, 2, 2), (1, 2, 2)))
        elif place in (1, 3, 5):
            layers.append(nn.MaxPool3d(2, 2))
    layers += [nn.MaxPool3d(2, 2, padding=(0, 1, 1)), nn.Flatten()]
    head = [nn.Linear(128 * 9, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 101)]
    return nn.Sequential(*layers, *head)


def r2plus1d() -> nn.Module:
    """Tran et al., 2018, of 18 layers, at half its width: space first, then time."""

    def pair(before: int, after: int, stride: int, act: Any = nn.ReLU) -> nn.Module:
        middle = (before * after * 27) // (before * 9 + 3 * after)
        space = ((1, 3, 3), (1, stride, stride), (0, 1, 1))
        time = ((3, 1, 1), (stride, 1, 1), (1, 0, 0))
        return nn.Sequential(
            ConvNorm(before, middle, *space, n=3), ConvNorm(middle, after, *time, act=act, n=3)
        )

    layers: list[nn.Module] = [
        ConvNorm(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), n=3),
        ConvNorm(45, 32, (3, 1, 1), 1, (1, 0, 0), n=3),
    ]
    before = 32
    for place, after in enumerate((32, 64, 128, 256)):
        for block in range(2):
            stride = 2 if place and block == 0 else 1
            body = nn.Sequential(pair(before, after, stride), pair(after, after, 1, None))
            plain = stride == 1 and before == after
            short = None if plain else ConvNorm(before, after, 1, stride, act=None, n=3)
            layers.append(Residual(body, short, nn.ReLU()))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(256, 400))


def dcgan() -> nn.Module:
    """Radford et al., 2016: the generator."""
    layers: list[nn.Module] = []
    widths = (100, 256, 128, 64, 32)
    for place, (before, after) in enumerate(itertools.pairwise(widths)):
        stride, padding = (1, 0) if place == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after), nn.ReLU(inplace=True),
        ]  # fmt: skip
    return nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False), nn.Tanh())
