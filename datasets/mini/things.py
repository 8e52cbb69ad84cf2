"""Things of the mini world: an object's lasting appearance and its path through the street."""

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from longtake.datasets.mini.objects import CLASSES, DRAWINGS
from longtake.datasets.mini.shapes import Figure, Pen, Variation

_NUM_UNIFORMS = 64  # more than any drawing asks for

_SIZES = {
    "person": 1.7, "bicycle": 1.5, "car": 1.8, "dog": 1.15, "cat": 1.05, "bird": 0.95, "tree": 3.0, "bench": 1.25,
    "sign": 2.1, "umbrella": 2.0, "cart": 2.0, "balloon": 1.9, "lamp": 2.8, "mailbox": 1.4, "hydrant": 1.1, "stroller": 1.2,
}  # fmt: skip
"""Metres per unit of the drawing: a toy street, in which small things are a little too large and large ones too small."""


@dataclass(frozen=True, eq=False)
class Texture:
    """Brightness pattern in the object's own frame, so that it moves along with it."""

    kind: int  # 0 plain, 1 stripes, 2 checks, 3 dots, 4 marble
    angle: float  # radians
    cycles: float  # per unit of the drawing
    contrast: float  # share of full brightness

    def __call__(self, u: Float[np.ndarray, "1 w"], v: Float[np.ndarray, "h 1"]) -> Float[np.ndarray, "h w"]:
        """Offsets of brightness at the points (u, v)."""
        frequency = 2 * pi * self.cycles
        c, s = np.float32(frequency * cos(self.angle)), np.float32(frequency * sin(self.angle))
        a, b = np.sin(c * u + s * v), np.sin(c * v - s * u)
        pattern = (
            np.zeros_like(a),
            np.clip(3 * a, -1, 1),
            np.clip(6 * a * b, -1, 1),
            np.clip(4 * (a + b - 1), -0.5, 1),
            0.6 * (a * np.sin(2 * b + 3 * u) + b),
        )[self.kind]
        return np.float32(self.contrast) * pattern


@dataclass(frozen=True, eq=False)
class Thing:
    """One object. Lengths in metres, times in seconds, angles in radians."""

    instance: int  # its number, from 1
    class_index: int
    size: float  # per unit of the drawing
    uniforms: Float[np.ndarray, " n"]  # what its drawing varies with
    palette: Float[np.ndarray, "tones 3"]  # red, green, blue from 0 to 255
    texture: Texture
    turn: float  # horizontal foreshortening: 1 shows the full side
    lean: float
    flip: bool  # faces to the left
    start: tuple[float, float]  # x and z at time 0
    speed: float = 0.0  # along z
    swing: tuple[float, float, float] = (0.0, 10.0, 0.0)  # of x: reach, period, phase
    hover: float = 0.0  # height of the foot point
    alive: tuple[float, float] = (-np.inf, np.inf)  # first and last time

    def position(self, time: float) -> tuple[float, float, float]:
        reach, period, phase = self.swing
        x = self.start[0] + reach * sin(2 * pi * time / period + phase)
        return x, self.hover, self.start[1] + self.speed * time

    def figure(self, time: float) -> Figure:
        """Polygons in metres around the foot point, x to the picture's right."""
        reach, period, phase = self.swing
        flip = cos(2 * pi * time / period + phase) < 0 if reach else self.flip
        pen = Pen()
        DRAWINGS[CLASSES[self.class_index]](pen, Variation(self.uniforms), self._gait(time))
        figure = pen.figure()
        c, s = self.size * cos(self.lean), self.size * sin(self.lean)
        mirrored = -self.turn if flip else self.turn
        matrix = np.array([[c * mirrored, s * mirrored], [-s, c]], dtype=np.float32)
        return figure._replace(points=figure.points @ matrix)

    def _gait(self, time: float) -> float:
        """Phase of the drawing: grows with the distance covered; what stands only stirs."""
        reach, period, _ = self.swing
        speed = abs(self.speed) + 4 * reach / period
        moving = 3.4 * speed * time / self.size if speed else 0.6 * sin(1.3 * time)
        return 2 * pi * float(self.uniforms[-1]) + moving


def random_thing(rng: np.random.Generator, instance: int, class_index: int, **placement: Any) -> Thing:
    """A thing whose looks are drawn from one distribution wherever it stands; colours and texture do not know its class."""
    texture = Texture(
        kind=int(rng.integers(5)),
        angle=float(rng.uniform(0, pi)),
        cycles=float(rng.uniform(3, 9)),
        contrast=float(rng.uniform(0.05, 0.2)),
    )
    return Thing(
        instance=instance,
        class_index=class_index,
        size=_SIZES[CLASSES[class_index]] * float(rng.uniform(0.85, 1.2)),
        uniforms=rng.random(_NUM_UNIFORMS),
        palette=_random_palette(rng),
        texture=texture,
        turn=float(rng.uniform(0.72, 1.0)),
        lean=float(rng.normal(0, 0.04)),
        flip=bool(rng.random() < 0.5),
        **placement,
    )


def _random_palette(rng: np.random.Generator) -> Float[np.ndarray, "5 3"]:
    """The five tones in the order of `mini_shapes`: hues that go together, one tone dark and one pale."""
    hue, step = rng.uniform(0, 360), rng.choice([35, 120, 150, 180])
    around = 0, step * rng.choice([-1, 1]), rng.choice([0, 90, 180]), rng.uniform(0, 360), rng.uniform(-40, 40)
    hues = (hue + np.array(around)) % 360
    saturation = rng.uniform([0.35, 0.25, 0.5, 0.1, 0.05], [0.85, 0.8, 0.9, 0.6, 0.3])
    value = rng.uniform([0.5, 0.45, 0.65, 0.14, 0.82], [0.95, 0.95, 1.0, 0.36, 1.0])
    hsv = np.stack([hues, saturation, value], axis=1).astype(np.float32)[None]
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] * 255
