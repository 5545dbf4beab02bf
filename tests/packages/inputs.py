"""Synthetic input for the packages: a drawn text, a signal like a voice, a drawn face."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LINES = ("Convolution 3x3", "stride 2, padding 1", "fast and right", "0123456789")


def text_picture(width: int = 480, height: int = 320, lines: tuple[str, ...] = LINES) -> Any:
    """Return lines of text drawn on grey, height x width x 3, uint8."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), (235, 235, 230))
    draw = ImageDraw.Draw(image)
    size = max(14, height // (2 * len(lines)))
    for place, line in enumerate(lines):
        top = round((place + 0.3) * height / len(lines))
        draw.text((width // 16, top), line, fill=(20, 20, 30), font=ImageFont.load_default(size))
    return np.array(image)


def voice(seconds: float = 1.6, rate: int = 16000) -> Any:
    """Return silence, then a buzz through moving resonances as vowels have, then noise; float32."""
    count = round(seconds * rate)
    time = np.arange(count) / rate
    pitch = 2 * math.pi * np.cumsum(120 + 25 * np.sin(2 * math.pi * 2.2 * time)) / rate
    buzz = np.zeros(count)
    for harmonic in range(1, 30):
        frequency = 120.0 * harmonic
        formants = sum(
            math.exp(-(((frequency - centre) / width) ** 2))
            for centre, width in ((600, 150), (1200, 220), (2600, 350))
        )
        buzz += (0.03 + formants) * np.sin(harmonic * pitch)
    loud = (time > 0.25 * seconds) & (time < 0.75 * seconds)
    noise = np.random.default_rng(0).standard_normal(count)
    signal = 0.12 * buzz * loud * (0.6 + 0.4 * np.sin(2 * math.pi * 4 * time)) + 0.003 * noise
    return signal.astype(np.float32)


def face_picture(size: int = 160) -> Any:
    """Return a drawn face, size x size x 3, uint8."""
    from PIL import Image, ImageDraw, ImageFilter

    image = Image.new("RGB", (size, size), (120, 140, 160))
    draw = ImageDraw.Draw(image)

    def oval(x: float, y: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        box = [(x - wide) * size, (y - high) * size, (x + wide) * size, (y + high) * size]
        draw.ellipse(box, fill=colour)

    oval(0.5, 0.42, 0.3, 0.36, (60, 40, 30))
    oval(0.5, 0.5, 0.25, 0.33, (224, 180, 150))
    for side in (-1, 1):
        oval(0.5 + 0.11 * side, 0.43, 0.045, 0.022, (250, 250, 250))
        oval(0.5 + 0.11 * side, 0.43, 0.02, 0.02, (50, 40, 40))
        oval(0.5 + 0.11 * side, 0.375, 0.06, 0.01, (70, 45, 35))
    oval(0.5, 0.55, 0.03, 0.05, (200, 150, 125))
    oval(0.5, 0.68, 0.09, 0.025, (180, 80, 80))
    return np.array(image.filter(ImageFilter.GaussianBlur(size / 120)))


def texts() -> dict[str, bytes]:
    """Return the contents of small files of some kinds."""
    return {
        "python": b"import sys\n\n\ndef main() -> None:\n    print(sys.argv)\n\n\nmain()\n" * 4,
        "json": b'{"name": "net", "layers": [1, 2, 3], "bias": null}\n' * 8,
        "html": b"<!doctype html><html><body><p>words</p></body></html>\n" * 6,
        "zip": b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(range(256)) * 4,
        "noise": np.random.default_rng(1).bytes(3000),
        "short": b"ab",
    }
