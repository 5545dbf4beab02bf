"""Networks that name what an image shows, in plain torch, from their papers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.zoo.parts import Branches, Classifier, ConvNorm, Residual, SqueezeExcite


class DenseLayer(nn.Module):
    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = (
            nn.BatchNorm2d(before),
            nn.Conv2d(before, 4 * growth, 1, bias=False),
        )
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        new = self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())
        return torch.cat([x, new], 1)


def densenet121() -> nn.Module:
    """Huang et al., 2017."""
    layers: list[nn.Module] = [ConvNorm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    channels, growth = 64, 32
    for place, count in enumerate((6, 12, 24, 16)):
        for _ in range(count):
            layers.append(DenseLayer(channels, growth))
            channels += growth
        if place < 3:
            layers += [
                nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2, 2),
            ]  # fmt: skip
            channels //= 2
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return Classifier(nn.Sequential(*layers), channels)


def fire(before: int, squeezed: int, expanded: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, squeezed, 1), nn.ReLU(inplace=True),
        Branches(
            nn.Sequential(nn.Conv2d(squeezed, expanded, 1), nn.ReLU(inplace=True)),
            nn.Sequential(nn.Conv2d(squeezed, expanded, 3, padding=1), nn.ReLU(inplace=True)),
        ),
    )  # fmt: skip


def squeezenet() -> nn.Module:
    """Iandola et al., 2016; version 1.1. Its pools round sizes up."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, 2), nn.ReLU(inplace=True), pool(),
        fire(64, 16, 64), fire(128, 16, 64), pool(),
        fire(128, 32, 128), fire(256, 32, 128), pool(),
        fire(256, 48, 192), fire(384, 48, 192), fire(384, 64, 256), fire(512, 64, 256),
        nn.Dropout(0.5), nn.Conv2d(512, 1000, 1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(),
    )  # fmt: skip


def inception(
    before: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int
) -> Any:
    return Branches(
        ConvNorm(before, one),
        nn.Sequential(ConvNorm(before, three[0]), ConvNorm(three[0], three[1], 3)),
        nn.Sequential(ConvNorm(before, five[0]), ConvNorm(five[0], five[1], 5)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), ConvNorm(before, pool)),
    )


def googlenet() -> nn.Module:
    """Szegedy et al., 2015, with its first local response normalisation."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    features = nn.Sequential(
        ConvNorm(3, 64, 7, 2), pool(), nn.LocalResponseNorm(5), ConvNorm(64, 64),
        ConvNorm(64, 192, 3), pool(),
        inception(192, 64, (96, 128), (16, 32), 32), inception(256, 128, (128, 192), (32, 96), 64),
        pool(),
        inception(480, 192, (96, 208), (16, 48), 64),
        inception(512, 160, (112, 224), (24, 64), 64),
        inception(512, 128, (128, 256), (24, 64), 64),
        inception(512, 112, (144, 288), (32, 64), 64),
        inception(528, 256, (160, 320), (32, 128), 128), pool(),
        inception(832, 256, (160, 320), (32, 128), 128),
        inception(832, 384, (192, 384), (48, 128), 128),
    )  # fmt: skip
    return Classifier(features, 1024)


def across(before: int, after: int, length: int) -> nn.Module:
    return ConvNorm(before, after, (1, length), padding=(0, length // 2))


def down(before: int, after: int, length: int) -> nn.Module:
    return ConvNorm(before, after, (length, 1), padding=(length // 2, 0))


def inception_v3() -> nn.Module:
    """Szegedy et al., Rethinking the Inception architecture, 2016; without the second head."""

    def a(before: int, pooled: int) -> nn.Module:
        return Branches(
            ConvNorm(before, 64),
            nn.Sequential(ConvNorm(before, 48), ConvNorm(48, 64, 5)),
            nn.Sequential(ConvNorm(before, 64), ConvNorm(64, 96, 3), ConvNorm(96, 96, 3)),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), ConvNorm(before, pooled)),
        )

    def b(middle: int) -> nn.Module:
        return Branches(
            ConvNorm(768, 192),
            nn.Sequential(
                ConvNorm(768, middle), across(middle, middle, 7), down(middle, 192, 7)
            ),
            nn.Sequential(
                ConvNorm(768, middle), down(middle, middle, 7), across(middle, middle, 7),
                down(middle, middle, 7), across(middle, 192, 7),
            ),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), ConvNorm(768, 192)),
        )  # fmt: skip

    def c(before: int) -> nn.Module:
        return Branches(
            ConvNorm(before, 320),
            nn.Sequential(ConvNorm(before, 384), Branches(across(384, 384, 3), down(384, 384, 3))),
            nn.Sequential(
                ConvNorm(before, 448), ConvNorm(448, 384, 3),
                Branches(across(384, 384, 3), down(384, 384, 3)),
            ),
            nn.Sequential(nn.AvgPool2d(3, 1, 1), ConvNorm(before, 192)),
        )  # fmt: skip

    features = nn.Sequential(
        ConvNorm(3, 32, 3, 2, 0), ConvNorm(32, 32, 3, 1, 0), ConvNorm(32, 64, 3),
        nn.MaxPool2d(3, 2), ConvNorm(64, 80), ConvNorm(80, 192, 3, 1, 0), nn.MaxPool2d(3, 2),
        a(192, 32), a(256, 64), a(288, 64),
        Branches(
            ConvNorm(288, 384, 3, 2, 0),
            nn.Sequential(ConvNorm(288, 64), ConvNorm(64, 96, 3), ConvNorm(96, 96, 3, 2, 0)),
            nn.MaxPool2d(3, 2),
        ),
        b(128), b(160), b(160), b(192),
        Branches(
            nn.Sequential(ConvNorm(768, 192), ConvNorm(192, 320, 3, 2, 0)),
            nn.Sequential(
                ConvNorm(768, 192), across(192, 192, 7), down(192, 192, 7),
                ConvNorm(192, 192, 3, 2, 0),
            ),
            nn.MaxPool2d(3, 2),
        ),
        c(1280), c(2048),
    )  # fmt: skip
    return Classifier(features, 2048)


class Shuffled(nn.Module):
    """Ma et al., 2018: half of the channels goes by, then all are shuffled."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        half, self.stride = after // 2, stride
        inner = half if stride == 1 else before
        self.way = nn.Sequential(
            ConvNorm(inner, half), ConvNorm(half, half, 3, stride, groups=half, act=None),
            ConvNorm(half, half),
        )  # fmt: skip
        self.short = None
        if stride > 1:
            self.short = nn.Sequential(
                ConvNorm(before, before, 3, stride, groups=before, act=None), ConvNorm(before, half)
            )

    def forward(self, x: Any) -> Any:
        if self.short is None:
            kept, x = x.chunk(2, dim=1)
        else:
            kept = self.short(x)
        x = torch.cat((kept, self.way(x)), dim=1)
        n, channels, height, width = x.size()
        x = x.view(n, 2, channels // 2, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(n, channels, height, width)


def shufflenet_v2() -> nn.Module:
    """Width 1.0."""
    layers: list[nn.Module] = [ConvNorm(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    before = 24
    for after, count in ((116, 4), (232, 8), (464, 4)):
        for place in range(count):
            layers.append(Shuffled(before, after, 2 if place == 0 else 1))
            before = after
    return Classifier(nn.Sequential(*layers, ConvNorm(464, 1024)), 1024)


def efficientnet_b0() -> nn.Module:
    """Tan and Le, 2019."""
    rows = [
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    ]  # fmt: skip
    layers: list[nn.Module] = [ConvNorm(3, 32, 3, 2, act=nn.SiLU)]
    before = 32
    for expand, after, count, first, kernel in rows:
        for place in range(count):
            stride, wide = first if place == 0 else 1, before * expand
            body = nn.Sequential(
                *([ConvNorm(before, wide, act=nn.SiLU)] if expand > 1 else []),
                ConvNorm(wide, wide, kernel, stride, groups=wide, act=nn.SiLU),
                SqueezeExcite(wide, max(1, before // 4)),
                ConvNorm(wide, after, act=None),
            )
            layers.append(Residual(body) if stride == 1 and before == after else body)
            before = after
    return Classifier(nn.Sequential(*layers, ConvNorm(320, 1280, act=nn.SiLU)), 1280)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of an image."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NextBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.3))

    def forward(self, x: Any) -> Any:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(nn.functional.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def convnext_tiny() -> nn.Module:
    """Liu et al., 2022."""
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 4, 4), ChannelNorm(96, eps=1e-6)]
    channels = 96
    for place, count in enumerate((3, 3, 9, 3)):
        if place:
            layers += [ChannelNorm(channels, eps=1e-6), nn.Conv2d(channels, 2 * channels, 2, 2)]
            channels *= 2
        layers += [NextBlock(channels) for _ in range(count)]
    head = Classifier(nn.Sequential(*layers), channels)
    head.fc = nn.Sequential(nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, 1000))
    return head


def regnet_y_400mf() -> nn.Module:
    """Radosavovic et al., 2020."""
    layers: list[nn.Module] = [ConvNorm(3, 32, 3, 2)]
    before = 32
    for after, count in ((48, 1), (104, 3), (208, 6), (440, 6)):
        for place in range(count):
            stride = 2 if place == 0 else 1
            body = nn.Sequential(
                ConvNorm(before, after), ConvNorm(after, after, 3, stride, groups=after // 8),
                SqueezeExcite(after, before // 4, nn.ReLU), ConvNorm(after, after, act=None),
            )  # fmt: skip
            short = ConvNorm(before, after, 1, stride, act=None) if place == 0 else None
            layers.append(Residual(body, short, nn.ReLU(inplace=True)))
            before = after
    return Classifier(nn.Sequential(*layers), before)


class Attention(nn.Module):
    """Self-attention with several heads, queries, keys and values from one layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        n, length, width = x.shape
        parts = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        y = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(y.transpose(1, 2).reshape(n, length, width))


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class HybridViT(nn.Module):
    """Dosovitskiy et al., 2021, with the stem of convolutions of Xiao et al., 2021.

    Takes images of 224 x 224.
    """

    def __init__(self, width: int = 192, depth: int = 6, heads: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(3, 24, 3, 2), ConvNorm(24, 48, 3, 2), ConvNorm(48, 96, 3, 2),
            ConvNorm(96, 192, 3, 2), nn.Conv2d(192, width, 1),
        )  # fmt: skip
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, 1 + 14 * 14, width))
        self.body = nn.Sequential(*(Encoder(width, heads) for _ in range(depth)))
        self.norm, self.fc = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 1000)

    def forward(self, x: Any) -> Any:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return self.fc(self.norm(self.body(x))[:, 0])
