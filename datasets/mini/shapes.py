"""Pen and variation of the mini world: an object is a list of flat polygons, drawn back to front.

Local frame of an object: x to the right (the direction it faces), y up, ground at y = 0, about one unit tall or wide. Polygons
are all there is, so that one list serves the picture, the silhouette (ids and visible fraction) and the cast shadow.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import cos, hypot, sin
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MAIN, SECOND, ACCENT, DARK, PALE = range(5)
"""Tones: rows of an object's palette. What they look like is drawn per object, never per class."""

Number = float | int
"""A type checker reads `float` so; beartype, in the tests, does not."""
Point = tuple[Number, Number]

_ANGLES = np.linspace(0, 2 * np.pi, 22, endpoint=False, dtype=np.float32)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_HALF_ANGLES = np.linspace(np.pi / 2, 3 * np.pi / 2, 7, dtype=np.float32)
_HALF_CIRCLE = np.stack([np.cos(_HALF_ANGLES), np.sin(_HALF_ANGLES)], axis=1)


class Figure(NamedTuple):
    """All polygons of an object in one array, the farthest first; part i is `points[ends[i - 1] : ends[i]]`."""

    points: Float[np.ndarray, "n 2"]
    ends: list[int]
    tones: list[int]
    textures: list[Number]  # how strongly the object's texture shows on the part, 0 to 1


class Variation:
    """Hands out an object's fixed random numbers in the order in which its drawing asks for them.

    The drawing is called anew for every frame; the same numbers come back, so the object keeps its proportions.
    """

    def __init__(self, uniforms: Float[np.ndarray, " n"]) -> None:
        self._next = iter(uniforms.tolist())

    def __call__(self, low: Number, high: Number) -> float:
        return low + (high - low) * next(self._next)

    def pick(self, count: int) -> int:
        return min(int(next(self._next) * count), count - 1)

    def chance(self, probability: float) -> bool:
        return next(self._next) < probability


class Pen:
    """Collects the parts of one object, the farthest first."""

    def __init__(self) -> None:
        self._parts: list[Float[np.ndarray, "n 2"]] = []
        self._tones: list[int] = []
        self._textures: list[Number] = []

    def figure(self) -> Figure:
        ends = np.cumsum([len(part) for part in self._parts]).tolist()
        return Figure(np.concatenate(self._parts), ends, self._tones, self._textures)

    def polygon(self, points: Sequence[Point] | Float[np.ndarray, "n 2"], tone: int, texture: Number = 1.0) -> None:
        self._parts.append(np.asarray(points, dtype=np.float32))
        self._tones.append(tone)
        self._textures.append(texture)

    def box(self, x0: Number, y0: Number, x1: Number, y1: Number, tone: int, texture: Number = 1.0) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], tone, texture)

    def taper(self, x: Number, bottom: Point, top: Point, tone: int, texture: Number = 1.0) -> None:
        """A symmetric trapezoid around x; `bottom` and `top` are (height, half the width)."""
        (y0, w0), (y1, w1) = bottom, top
        self.polygon([(x - w0, y0), (x + w0, y0), (x + w1, y1), (x - w1, y1)], tone, texture)

    def ellipse(self, center: Point, radii: Point, tone: int, *, tilt: Number = 0.0, texture: Number = 1.0) -> None:
        """`tilt` in radians, counter-clockwise."""
        a, b, c, s = *radii, cos(tilt), sin(tilt)
        matrix = np.array([[a * c, a * s], [-b * s, b * c]], dtype=np.float32)
        self.polygon(_CIRCLE @ matrix + np.array(center, np.float32), tone, texture)

    def disc(self, center: Point, radius: Number, tone: int, texture: Number = 1.0) -> None:
        self.ellipse(center, (radius, radius), tone, texture=texture)

    def limb(self, start: Point, end: Point, width: Number, tone: int, end_width: Number | None = None) -> None:
        """A stroke with round ends; `end_width` makes it taper."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = max(hypot(dx, dy), 1e-6)
        c, s = dx / length / 2, dy / length / 2
        half = _HALF_CIRCLE @ np.array([[c, s], [-s, c]], dtype=np.float32)
        points = np.empty((2 * len(half), 2), dtype=np.float32)
        points[: len(half)] = half * width + np.array(start, np.float32)
        points[len(half) :] = half * -(width if end_width is None else end_width) + np.array(end, np.float32)
        self.polygon(points, tone)

    def path(self, points: Sequence[Point], width: Number, tone: int) -> None:
        for start, end in pairwise(points):
            self.limb(start, end, width, tone)

    def ring(self, center: Point, radius: Number, width: Number, tone: int) -> None:
        """Outer and inner circle as one polygon: even-odd filling leaves the hole open."""
        closed = np.concatenate([_CIRCLE, _CIRCLE[:1]])
        points = np.concatenate([closed * radius, closed[::-1] * (radius - width)])
        self.polygon(points + np.array(center, np.float32), tone, 0.0)

    def fan(self, center: Point, radii: Point, start: Number, end: Number, tone: int, texture: Number = 1.0) -> None:
        """A sector of an ellipse, from angle `start` to `end` in radians, counter-clockwise."""
        angles = np.linspace(start, end, 12)
        arc = np.stack([np.cos(angles) * radii[0], np.sin(angles) * radii[1]], axis=1) + center
        self.polygon(np.concatenate([arc, [center]]), tone, texture)
