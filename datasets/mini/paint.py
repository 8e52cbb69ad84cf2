"""Paints the surfaces of a street of the mini world: the ground, and a row of houses.

A surface is an array with columns along z and rows across: from the left facades to the right ones on the ground, upwards on a
facade. Its four channels are red, green, blue, and how much a texel glows at dusk.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

LENGTH = 160.0
"""Metres of z after which a street repeats."""
LEFT, CURB, RIGHT = -4.5, 1.6, 6.0
"""x in metres of the left facades, of the border between pavement and road, and of the right facades."""
HEIGHT = 10.0
"""Metres of wall that a facade's surface has room for; the houses are lower."""

_STOREY = 2.2
_FOOT = 0.6  # metres of wall that no storey claims

Surface = UInt8[np.ndarray, "rows columns 4"]
Number = float | int
Color = tuple[Number, ...]
Range = tuple[Number, Number]


def noise(
    rng: np.random.Generator, rows: int, columns: int, cell: int, octaves: int
) -> Float[np.ndarray, "rows columns"]:
    """Value noise of unit standard deviation: random grids enlarged smoothly, the coarsest with cells of `cell` pixels."""
    total = np.zeros((rows, columns), dtype=np.float32)
    for k in range(octaves):
        size = max(cell >> k, 1)
        grid = rng.standard_normal((rows // size + 2, columns // size + 2), dtype=np.float32)
        total += cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC) / 2**k
    return total / total.std()


def paint_ground(rng: np.random.Generator, scale: float) -> Surface:
    """Paving stones on the left, asphalt with a dashed line on the right, a kerb between them; `scale` in texels per metre."""
    brush = _Brush(rng, scale, RIGHT - LEFT)
    rows, columns = brush.surface.shape[:2]
    curb, stone, joint = round((CURB - LEFT) * scale), rng.uniform(0.4, 0.8), 1.2 / scale
    stones = rng.normal(0, 9, (round((CURB - LEFT) / stone), round(LENGTH / stone))).astype(np.float32)
    paving = cv2.resize(stones, (columns, curb), interpolation=cv2.INTER_NEAREST)
    paving[:, np.arange(columns) / scale % stone < joint] -= 26
    paving[np.arange(curb) / scale % stone < joint] -= 26
    shade = noise(rng, rows, columns, round(2 * scale), octaves=5) * 6
    shade[:curb] += paving
    base = np.empty((rows, 1, 3), dtype=np.float32)
    base[:curb] = brush.mix((0, 1), (0.03, 0.16), (0.66, 0.8))
    base[curb:] = brush.mix((0, 1), (0.02, 0.08), (0.4, 0.52))
    brush.surface[..., :3] = np.clip(base + shade[..., None], 0, 255)
    brush.box(0, CURB - LEFT - 0.16, LENGTH, CURB - LEFT, (206, 202, 194))
    middle = (CURB + RIGHT) / 2 - LEFT
    for z in np.arange(0, LENGTH, 4.0).tolist():
        brush.box(z, middle - 0.06, z + 1.8, middle + 0.06, (222, 218, 200))
    for _ in range(24):  # manhole covers
        z, x = rng.uniform(0, LENGTH), rng.uniform(0.8, RIGHT - LEFT - 0.8)
        brush.disc(z, x, 0.3, (92, 90, 90))
        brush.disc(z, x, 0.25, (112, 108, 104))
    return brush.surface


def paint_facades(rng: np.random.Generator, scale: float) -> tuple[Surface, Float[np.ndarray, " half_metres"]]:
    """A row of houses, and the height of the roof in metres for every half metre of z."""
    brush = _Brush(rng, scale, HEIGHT)
    roofs = np.zeros(round(LENGTH * 2), dtype=np.float32)
    z = 0.0
    while z < LENGTH:
        width = float(rng.integers(9, 19)) / 2
        width = width if LENGTH - z - width > 5 else LENGTH - z  # the last house fills what is left
        storeys = int(rng.integers(2, 5))
        roofs[round(z * 2) : round((z + width) * 2)] = _FOOT + _STOREY * storeys
        _paint_house(brush, z, width, storeys)
        z += width
    rows, columns = brush.surface.shape[:2]
    grain = noise(rng, rows, columns, round(1.5 * scale), octaves=4) * 4
    brush.surface[..., :3] = np.clip(brush.surface[..., :3] + grain[..., None], 0, 255)
    return brush.surface, roofs


class _Brush:
    """Paints on a surface in metres, from the surface's own random numbers."""

    def __init__(self, rng: np.random.Generator, scale: float, height: float) -> None:
        self.rng, self.scale = rng, scale
        self.surface: Surface = np.zeros((round(height * scale), round(LENGTH * scale), 4), dtype=np.uint8)

    def box(self, z0: Number, y0: Number, z1: Number, y1: Number, color: Color, glow: int | None = 0) -> None:
        """`glow=None` leaves the glow as it is."""
        z0, y0, z1, y1 = (max(round(c * self.scale), 0) for c in (z0, y0, z1, y1))
        self.surface[y0:y1, z0:z1, :3] = [min(int(c), 255) for c in color]
        if glow is not None:
            self.surface[y0:y1, z0:z1, 3] = glow

    def disc(self, z: float, y: float, radius: float, color: Color) -> None:
        center = round(z * self.scale), round(y * self.scale)
        cv2.circle(self.surface, center, round(radius * self.scale), (*color, 0), cv2.FILLED)

    def mix(self, hue: Range, saturation: Range, value: Range) -> Color:
        """A random colour as red, green, blue from 0 to 255; the ranges are fractions of one."""
        hsv = [360 * self.rng.uniform(*hue), self.rng.uniform(*saturation), self.rng.uniform(*value)]
        return tuple((cv2.cvtColor(np.array([[hsv]], np.float32), cv2.COLOR_HSV2RGB)[0, 0] * 255).tolist())


def _shade(color: Color, factor: float) -> Color:
    return tuple(c * factor for c in color)


def _paint_house(brush: _Brush, z: float, width: float, storeys: int) -> None:
    rng, roof = brush.rng, _FOOT + _STOREY * storeys
    wall = brush.mix((0, 1), (0.12, 0.55), (0.66, 0.94))
    trim = tuple(min(c * 0.4 + 150, 250) for c in wall)
    accent = brush.mix((0, 1), (0.35, 0.65), (0.35, 0.65))
    brush.box(z, 0, z + width, roof, wall)
    if rng.random() < 0.4:  # boards
        for y in np.arange(0.2, roof, 0.24).tolist():
            brush.box(z, y, z + width, y + 0.05, _shade(wall, 0.9))
    brush.box(z, 0, z + width, 0.35, _shade(wall, 0.72))
    for y in (2.4, roof - 0.3):
        brush.box(z, y, z + width, y + 0.22, trim)
    brush.box(z, 0, z + 0.1, roof, _shade(wall, 0.7))
    bays = max(int(width / rng.uniform(1.5, 2.3)), 2)
    shutters = rng.random() < 0.5
    for left in (z + width * (np.arange(bays) + 0.5) / bays - 0.42).tolist():
        for storey in range(1, storeys):
            y = 0.8 + _STOREY * storey
            _paint_window(brush, left, y, 0.84, 1.2, trim)
            if shutters:
                for side in (left - 0.46, left + 0.94):
                    brush.box(side, y - 0.05, side + 0.36, y + 1.25, accent)
            elif rng.random() < 0.5:
                _paint_flowers(brush, left, y, 0.84, accent)
    _paint_shop(brush, z, width, trim)


def _paint_window(brush: _Brush, z: float, y: float, width: float, height: float, trim: Color) -> None:
    glass = brush.mix((0.5, 0.65), (0.15, 0.4), (0.35, 0.6))
    brush.box(z - 0.1, y - 0.12, z + width + 0.1, y + height + 0.1, trim)
    brush.box(z, y, z + width, y + height, glass, glow=int(brush.rng.choice([0, 0, 150, 210])))
    brush.box(z, y + height * 0.55, z + width, y + height, _shade(glass, 1.25), glow=None)
    for x in (z, z + width / 2):
        brush.box(x - 0.04, y, x + 0.04, y + height, trim)


def _paint_flowers(brush: _Brush, z: float, y: float, width: float, accent: Color) -> None:
    brush.box(z - 0.05, y - 0.3, z + width + 0.05, y - 0.08, accent)
    for x in np.arange(z, z + width, 0.16).tolist():
        brush.box(x, y - 0.12, x + 0.1, y + 0.08, brush.mix((0, 1), (0.4, 0.8), (0.6, 0.95)))


def _paint_shop(brush: _Brush, z: float, width: float, trim: Color) -> None:
    """The ground floor: a door, and shop windows with or without an awning beside it."""
    door = z + brush.rng.uniform(0.5, width - 1.6)
    color = brush.mix((0, 1), (0.4, 0.75), (0.4, 0.75))
    for left, right in ((z + 0.5, door - 0.3), (door + 1.4, z + width - 0.4)):
        if right - left < 0.8:
            continue
        _paint_window(brush, left, 0.75, right - left, 1.25, trim)
        if brush.rng.random() < 0.65:
            for k, x in enumerate(np.arange(left - 0.15, right + 0.1, 0.25).tolist()):
                stripe = color if k % 2 else (240.0, 236.0, 226.0)
                brush.box(x, 1.75, x + 0.25, 2.3, stripe)
                brush.disc(x + 0.125, 1.75, 0.125, stripe)
    brush.box(door - 0.12, 0, door + 1.12, 2.2, trim)
    brush.box(door, 0, door + 1.0, 2.08, color)
    brush.box(door + 0.15, 1.2, door + 0.85, 1.9, (120, 140, 160), glow=180)
    brush.box(door + 0.82, 0.9, door + 0.92, 1.05, (236, 214, 120))
