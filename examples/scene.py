"""A small ray-traced picture: three balls on a tiled floor under a sky, made with NumPy alone."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

CAMERA = np.array([0.0, 1.25, -4.2])
SUN = np.array([-0.62, 0.66, -0.42]) / np.linalg.norm([-0.62, 0.66, -0.42])
SPHERES = [  # centre, radius, colour, stripes
    ((-1.55, 0.85, 0.75), 0.85, (0.86, 0.26, 0.17), False),
    ((0.15, 0.60, -0.55), 0.60, (0.93, 0.72, 0.22), True),
    ((1.75, 1.05, 1.35), 1.05, (0.16, 0.44, 0.66), False),
]
HAZE = np.array([0.80, 0.87, 0.93])
ZENITH = np.array([0.24, 0.47, 0.76])


def render(width: int = 384, height: int = 256, seed: int = 0) -> Array:
    """The picture as float32 (height, width, 3) with values 0..1, with a little sensor noise."""
    fine = _trace(2 * width, 2 * height)
    image = fine.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    noise = np.random.default_rng(seed).normal(0, 0.012, image.shape)
    return np.clip(np.sqrt(image) + noise, 0, 1).astype(np.float32)


def _trace(width: int, height: int) -> Array:
    """Linear light for every pixel: the sky, then the floor, then each ball nearest first wins."""
    ray = _rays(width, height)
    colour = _sky(ray)
    nearest = np.full(ray.shape[:2], np.inf)

    down = ray[..., 1] < -1e-4
    distance = np.where(down, -CAMERA[1] / np.where(down, ray[..., 1], 1), np.inf)
    point = CAMERA + np.where(down, distance, 0)[..., None] * ray
    floor = _floor(point)
    fog = (1 - np.exp(-0.045 * np.where(down, distance, 0)))[..., None]
    colour = np.where(down[..., None], floor * (1 - fog) + HAZE**2 * fog, colour)
    nearest = np.minimum(nearest, distance)

    for centre, radius, paint, striped in SPHERES:
        distance = _hit(CAMERA, ray, np.array(centre), radius)
        visible = distance < nearest
        point = CAMERA + np.where(visible, distance, 0)[..., None] * ray
        normal = (point - centre) / radius
        shade = _ball(point, normal, ray, np.array(paint), striped)
        colour = np.where(visible[..., None], shade, colour)
        nearest = np.where(visible, distance, nearest)
    return colour


def _rays(width: int, height: int) -> Array:
    """A unit vector for every pixel, looking along +z and a little down."""
    x = (np.arange(width) + 0.5 - width / 2) / height
    y = (height / 2 - np.arange(height) - 0.5) / height
    x, y = np.meshgrid(1.15 * x, 1.15 * y - 0.10)
    ray = np.stack([x, y, np.ones_like(x)], axis=-1)
    return ray / np.linalg.norm(ray, axis=-1, keepdims=True)


def _hit(origin: Array, ray: Array, centre: Array, radius: float) -> Array:
    """The distance along each ray to a ball, inf where it misses."""
    offset = origin - centre
    b = (offset * ray).sum(-1)
    under_root = b * b - (offset * offset).sum(-1) + radius * radius
    distance = -b - np.sqrt(np.maximum(under_root, 0))
    return np.where((under_root > 0) & (distance > 1e-3), distance, np.inf)


def _sky(ray: Array) -> Array:
    """From haze at the horizon to blue above, with thin clouds."""
    up = np.clip(ray[..., 1], 0, 1)
    blue = HAZE + (ZENITH - HAZE) * np.clip(2.2 * up, 0, 1)[..., None] ** 0.7
    lift = 1 / (up + 0.12)
    cloud = _texture(ray[..., 0] * lift * 0.8, ray[..., 2] * lift * 1.6, octaves=5)
    cover = np.clip((cloud - 0.52) * 3.2, 0, 0.85)[..., None]
    return (blue * (1 - cover) + 0.98 * cover) ** 2


def _floor(point: Array) -> Array:
    """Two kinds of stone tile with grain and dark joints, lit by the sun."""
    x, z = point[..., 0] * 1.25, point[..., 2] * 1.25
    dark = (np.floor(x) + np.floor(z)) % 2 == 0
    stone = np.where(dark[..., None], (0.40, 0.36, 0.33), (0.78, 0.73, 0.65))
    grain = 0.78 + 0.44 * _texture(4 * x, 4 * z, octaves=4)
    joint = np.minimum(np.abs(x - np.rint(x)), np.abs(z - np.rint(z))) < 0.02
    albedo = (stone * np.where(joint, 0.45, grain)[..., None]) ** 2
    light = 0.25 + 0.95 * SUN[1] * _sunlit(point)
    return albedo * (light * _contact(point))[..., None]


def _ball(point: Array, normal: Array, ray: Array, paint: Array, striped: bool) -> Array:
    """Painted and glossy: ambient and sun light, a highlight, and the sky in the rim."""
    if striped:
        wave = np.sin(11 * (point[..., 1] + 0.35 * point[..., 0]))
        paint = np.where((wave > 0.25)[..., None], paint, (0.93, 0.90, 0.84))
    grain = 0.90 + 0.20 * _texture(9 * normal[..., 0] + 7, 9 * normal[..., 1] + 3, octaves=3)
    sun = np.clip(normal @ SUN, 0, 1) * _sunlit(point + 0.01 * normal)
    ambient = 0.16 + 0.14 * normal[..., 1]
    mirrored = ray - 2 * (ray * normal).sum(-1, keepdims=True) * normal
    gloss = 0.8 * np.clip(mirrored @ SUN, 0, 1) ** 60 * (sun > 0)
    rim = 0.30 * np.clip(1 + (ray * normal).sum(-1), 0, 1) ** 4
    matte = (paint * grain[..., None]) ** 2 * (ambient + 1.05 * sun)[..., None]
    return matte + gloss[..., None] + rim[..., None] * HAZE**2


def _sunlit(point: Array) -> Array:
    """1 where no ball is between a point and the sun, else 0."""
    lit = np.ones(point.shape[:-1])
    for centre, radius, _, _ in SPHERES:
        lit *= np.isinf(_hit(point, SUN, np.array(centre), radius))
    return lit


def _contact(point: Array) -> Array:
    """The soft darkening of the floor round the foot of each ball."""
    light = np.ones(point.shape[:-1])
    for centre, radius, _, _ in SPHERES:
        away = np.hypot(point[..., 0] - centre[0], point[..., 2] - centre[2]) / radius
        light *= 1 - 0.55 * np.exp(-2.2 * away * away)
    return light


def _texture(x: Array, y: Array, octaves: int) -> Array:
    """Fractal value noise with values about 0..1."""
    total, weight = np.zeros_like(x), 1.0
    for octave in range(octaves):
        weight /= 2
        total += weight * _value_noise(x * 2**octave, y * 2**octave)
    return total / (1 - weight)


def _value_noise(x: Array, y: Array) -> Array:
    """Random values on a grid of integers, smoothly joined."""
    table = np.random.default_rng(7).random((64, 64))
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - left, y - top
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    corners = [[table[(top + i) % 64, (left + j) % 64] for j in (0, 1)] for i in (0, 1)]
    upper = corners[0][0] * (1 - u) + corners[0][1] * u
    lower = corners[1][0] * (1 - u) + corners[1][1] * u
    return upper * (1 - v) + lower * v
