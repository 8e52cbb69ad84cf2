"""The street of the mini world: paving and asphalt between two rows of houses under a cloudy sky.

World frame in metres: x to the right, y up (ground at 0), z along the street. Ground and facades are painted once into one atlas
with mip levels; a view is then one ray per pixel and one texture look-up.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from longtake.datasets.mini.paint import CURB, HEIGHT, LEFT, LENGTH, RIGHT, Surface, noise, paint_facades, paint_ground

STUFF: tuple[str, ...] = ("sky", "facade", "road", "pavement")
"""Semantic ids 0 to 3, the ground's last; the objects' classes follow."""
_SKY, _FACADE, _ROAD, _PAVEMENT = range(len(STUFF))

_NUM_LEVELS = 4
_HAZE_DEPTH = 28.0  # metres after which haze hides 1 - 1/e


class Light(NamedTuple):
    """Colours and shadows of a time of day."""

    color: Float[np.ndarray, " 3"]  # factors of red, green, blue
    horizon: Float[np.ndarray, " 3"]
    zenith: Float[np.ndarray, " 3"]
    glow: float  # of lit windows, 0 to 1
    shadow: float  # opacity of cast shadows
    slant: float  # metres of shadow per metre of height

    def veil(self, color: Float[np.ndarray, "h w 3"], depth: Float[np.ndarray, "h w"] | float) -> None:
        """Mixes the haze of so many metres into a colour, in place."""
        share = 1 - np.exp(np.minimum(depth, 1e3) * np.float32(-1 / _HAZE_DEPTH))
        color += np.asarray(share, np.float32)[..., None] * (self.horizon * np.float32(0.92) - color)


def light_at(dusk: float) -> Light:
    """Return the light at a time of day: noon (0), late afternoon (0.55), dusk (1)."""

    def blend(noon: object, afternoon: object, evening: object) -> Float[np.ndarray, " n"]:
        table = np.array([noon, afternoon, evening], dtype=np.float32)
        return np.array([np.interp(dusk, (0, 0.55, 1), column) for column in table.T], dtype=np.float32)

    glow, shadow, slant = blend((0, 0.42, 0.5), (0.25, 0.4, 1.3), (1, 0.15, 1.8)).tolist()
    return Light(
        color=blend((1.04, 1.03, 1.0), (1.06, 0.92, 0.76), (0.64, 0.58, 0.7)),
        horizon=blend((214, 230, 240), (250, 214, 170), (222, 150, 140)),
        zenith=blend((92, 156, 226), (120, 150, 205), (66, 66, 122)),
        glow=glow,
        shadow=shadow,
        slant=slant,
    )


@dataclass(frozen=True, eq=False)
class Street:
    """One painted street. The atlas holds the mip levels of ground, left and right facades, all below one another."""

    atlas: Surface
    level_rows: Float[np.ndarray, " levels"]  # first row of each level
    scale: float  # texels per metre at level 0
    roofs: Float[np.ndarray, "sides half_metres"]  # heights in metres, left and right
    clouds: Float[np.ndarray, "elevations directions"]  # cover, 0 to 1, by elevation and by direction to the right

    def view(
        self, origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "h w 3"], focal: float, light: Light
    ) -> tuple[Float[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
        """Colours (0 to 255) and semantic ids of what rays from `origin` meet.

        A ray is one unit of depth long; `focal` in pixels.
        """
        dx, dy, dz = (np.where(np.abs(d) < 1e-4, np.float32(1e-4), d) for d in np.moveaxis(rays, -1, 0))
        left = dx < 0
        wall_depth = (np.where(left, np.float32(LEFT), np.float32(RIGHT)) - origin[0]) / dx
        ground_depth = np.where(dy < 0, -origin[1] / dy, np.float32(np.inf))
        on_ground = ground_depth < wall_depth
        depth = np.minimum(wall_depth, ground_depth)
        x, y, z = origin[0] + depth * dx, origin[1] + depth * dy, np.mod(origin[2] + depth * dz, np.float32(LENGTH))
        roof = self.roofs[(~left).astype(np.intp), (z * 2).astype(np.intp) % self.roofs.shape[1]]
        is_sky = ~on_ground & (y >= roof)

        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        slope = np.abs(np.where(on_ground, dy, dx)) / length
        footprint = depth * np.float32(self.scale / focal) / np.sqrt(slope)  # texels per pixel: the two axes' mean
        across = np.where(on_ground, x - np.float32(LEFT), np.minimum(y, np.float32(HEIGHT - 0.1)))
        across += np.where(on_ground, 0, np.where(left, RIGHT - LEFT, RIGHT - LEFT + HEIGHT)).astype(np.float32)
        texels = self._look_up(z, across, footprint).astype(np.float32)

        lit = texels[..., :3] * light.color
        color = lit + texels[..., 3:] * np.float32(light.glow / 255) * (np.array((255, 205, 120), np.float32) - lit)
        light.veil(color, depth)
        color = np.where(is_sky[..., None], self._sky(dx / length, dy / length, light), color)
        ground = np.where(x < CURB, _PAVEMENT, _ROAD)
        return color, np.where(is_sky, _SKY, np.where(on_ground, ground, _FACADE)).astype(np.uint8)

    def _look_up(
        self, z: Float[np.ndarray, "h w"], across: Float[np.ndarray, "h w"], footprint: Float[np.ndarray, "h w"]
    ) -> UInt8[np.ndarray, "h w 4"]:
        level = np.clip(np.log2(np.maximum(footprint, 1)), 0, _NUM_LEVELS - 1).astype(np.intp)
        texels = np.float32(self.scale) / (1 << level).astype(np.float32)
        rows = across * texels - np.float32(0.5) + self.level_rows[level]
        return cv2.remap(self.atlas, z * texels, rows, cv2.INTER_LINEAR)

    def _sky(
        self, right: Float[np.ndarray, "h w"], up: Float[np.ndarray, "h w"], light: Light
    ) -> Float[np.ndarray, "h w 3"]:
        rows, columns = self.clouds.shape
        up = np.clip(up, 0, 1)
        cloud = cv2.remap(self.clouds, (right + 1) * (columns / 2 - 1), (1 - up) * (rows - 1), cv2.INTER_LINEAR)
        color = light.horizon + np.clip(up * 1.6, 0, 1)[..., None] * (light.zenith - light.horizon)
        return color + cloud[..., None] * (light.horizon * 0.5 + 125 - color)


def build_street(seed: list[int], scale: float) -> Street:
    """Paints the street of this seed at `scale` texels per metre."""
    rng = np.random.default_rng(seed)
    ground = paint_ground(rng, scale)
    walls, roofs = zip(*(paint_facades(rng, scale) for _ in range(2)), strict=True)
    level = np.concatenate([ground, *walls])
    levels = [level]
    for _ in range(_NUM_LEVELS - 1):
        level = cv2.resize(level, (level.shape[1] // 2, level.shape[0] // 2), interpolation=cv2.INTER_AREA)
        levels.append(level)
    first_rows = np.cumsum([0, *(len(level) for level in levels[:-1])]).astype(np.float32)
    columns = levels[0].shape[1]
    atlas = np.concatenate([np.pad(level, ((0, 0), (0, columns - level.shape[1]), (0, 0))) for level in levels])
    clouds = np.clip(noise(rng, 256, 512, 64, octaves=5) * 0.5 + 0.1, 0, 1) * 0.85
    return Street(atlas, first_rows, scale, np.stack(roofs), clouds.astype(np.float32))
