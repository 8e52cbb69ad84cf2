"""Renders a scene of the mini world: a street, the things in it, and cameras. Every pixel comes with its truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, sin
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from longtake.datasets.mini.shapes import Figure
from longtake.datasets.mini.street import STUFF, Light, Street, light_at
from longtake.datasets.mini.things import Thing

_NEAR = 0.5  # metres; nothing nearer is drawn
_FAR = 30.0
_SHADOWS_UP_TO = 10.0
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates


@dataclass(frozen=True, eq=False)
class View:
    """A pinhole camera at one instant. Lengths in metres, angles in radians, `focal` and `center` in pixels."""

    height: int
    width: int
    focal: float
    center: tuple[float, float]
    position: tuple[float, float, float]
    yaw: float = 0.0  # to the right
    pitch: float = 0.0  # upwards
    roll: float = 0.0  # of the camera, counter-clockwise
    time: float = 0.0  # seconds
    dusk: float = 0.0
    sharp_up_to: float = np.inf  # depth in metres; what lies behind is out of focus
    defocus: float = 0.0  # standard deviation of its blur, pixels
    blur: tuple[float, float] = (0.0, 0.0)  # motion of the picture during the exposure, pixels
    noise: float = 2.0  # standard deviation, levels
    noise_seed: int = 0

    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Rows are the camera's right, up and forward axes in the world."""
        cy, sy, cp, sp, cr, sr = (f(a) for a in (self.yaw, self.pitch, self.roll) for f in (cos, sin))
        right, forward = np.array([cy, 0, -sy]), np.array([sy * cp, sp, cy * cp])
        up = np.cross(forward, right)
        return np.stack([cr * right + sr * up, cr * up - sr * right, forward]).astype(np.float32)

    def rays(self) -> Float[np.ndarray, "h w 3"]:
        """Through every pixel's centre, in the world, one unit of depth long."""
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - np.float32(self.center[0])) / np.float32(self.focal)
        y = (np.float32(self.center[1]) - np.arange(self.height, dtype=np.float32) - 0.5) / np.float32(self.focal)
        right, up, forward = self.rotation()
        return x[None, :, None] * right + y[:, None, None] * up + forward

    def project(self, points: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
        """World points to pixels (x to the right, y down) and depths in metres; meaningless at depths below zero."""
        camera = (points - np.array(self.position, np.float32)) @ self.rotation().T
        depth = np.maximum(camera[:, 2:], 1e-3)
        offsets = camera[:, :2] / depth * np.array((self.focal, -self.focal), np.float32)
        return np.array(self.center, np.float32) + offsets, camera[:, 2]


class Seen(NamedTuple):
    """Truth of one visible object in one frame."""

    instance: int
    class_index: int
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 of the visible pixels, ends exclusive
    visible: float  # visible pixels over all pixels of the silhouette, also those outside the frame
    depth: float  # metres


class Rendered(NamedTuple):
    """A frame and its truth. `ids` is 0 where no object is; `semantic` indexes `STUFF + CLASSES`; objects from near to far."""

    image: UInt8[np.ndarray, "h w 3"]
    ids: Int[np.ndarray, "h w"]
    semantic: UInt8[np.ndarray, "h w"]
    objects: list[Seen]


@dataclass(frozen=True, eq=False)
class Scene:
    street: Street
    things: Sequence[Thing]
    views: Sequence[View]


def render(scene: Scene, frame: int) -> Rendered:
    """Draws view number `frame`, far to near, and reads the truth off what was drawn."""
    view = scene.views[frame]
    light = light_at(view.dusk)
    canvas, stuff = scene.street.view(np.array(view.position, np.float32), view.rays(), view.focal, light)
    ids = np.zeros(stuff.shape, dtype=np.int32)
    standing = _standing(scene.things, view)
    _cast_shadows(canvas, stuff >= STUFF.index("road"), standing, view, light)
    behind = sum(item.depth > view.sharp_up_to for item in standing)
    areas = [_draw(canvas, ids, item, view, light) for item in standing[:behind]]
    if view.defocus:
        canvas = cv2.GaussianBlur(canvas, (0, 0), view.defocus)
    areas += [_draw(canvas, ids, item, view, light) for item in standing[behind:]]
    semantic = np.zeros(max((item.thing.instance for item in standing), default=0) + 1, dtype=np.uint8)
    for item in standing:
        semantic[item.thing.instance] = len(STUFF) + item.thing.class_index
    objects = [_seen(ids, item, area) for item, area in zip(standing, areas, strict=True)][::-1]
    return Rendered(
        image=_expose(canvas, view),
        ids=ids,
        semantic=np.where(ids > 0, semantic[ids], stuff),
        objects=[seen for seen in objects if seen is not None],
    )


class Standing(NamedTuple):
    """A thing in front of the camera: its depth in metres, polygons in metres, and foot point in pixels."""

    depth: float
    thing: Thing
    figure: Figure
    foot: Float[np.ndarray, " 2"]


def _standing(things: Sequence[Thing], view: View) -> list[Standing]:
    """Things that may touch the frame, far to near."""
    alive = [thing for thing in things if thing.alive[0] <= view.time < thing.alive[1]]
    if not alive:
        return []
    feet, depths = view.project(np.array([thing.position(view.time) for thing in alive], np.float32))
    standing = []
    for thing, foot, depth in zip(alive, feet, depths.tolist(), strict=True):
        if not _NEAR < depth < _FAR:
            continue
        reach = 1.4 * thing.size * view.focal / depth  # no drawing reaches farther than 1.4 units from its foot
        if (foot + reach > 0).all() and foot[0] - reach < view.width and foot[1] - reach < view.height:
            standing.append(Standing(depth, thing, thing.figure(view.time), foot))
    return sorted(standing, key=lambda item: -item.depth)


def _cast_shadows(
    canvas: Float[np.ndarray, "h w 3"],
    ground: Bool[np.ndarray, "h w"],
    standing: list[Standing],
    view: View,
    light: Light,
) -> None:
    """Darkens the ground behind each thing: its figure sheared along the ground, away from the sun."""
    mask = np.zeros(ground.shape, dtype=np.uint8)
    for item in standing:
        if item.depth > _SHADOWS_UP_TO:
            continue
        x, hover, z = item.thing.position(view.time)
        rise = (item.figure.points[:, 1] + hover) * light.slant
        floor = np.stack([x + item.figure.points[:, 0] + 0.8 * rise, np.zeros_like(rise), z + 0.55 * rise], axis=1)
        pixels, depths = view.project(floor.astype(np.float32))
        if depths.min() > _NEAR / 2:
            _fill(mask, pixels, item.figure.ends, [(255.0,)] * len(item.figure.ends))
    size = max(view.height // 60, 1) * 2 + 1
    soft = cv2.GaussianBlur(mask, (size, size), 0) * np.float32(light.shadow / 255)
    canvas *= 1 - (soft * ground)[..., None]


def _draw(
    canvas: Float[np.ndarray, "h w 3"], ids: Int[np.ndarray, "h w"], item: Standing, view: View, light: Light
) -> int:
    """Puts one thing over canvas and ids; returns the number of its silhouette's pixels, inside the frame or not."""
    figure, scale = item.figure, view.focal / item.depth
    c, s = scale * cos(view.roll), scale * sin(view.roll)
    outline = item.foot + figure.points @ np.array([[c, s], [s, -c]], dtype=np.float32)
    x0, y0 = (np.floor(outline.min(axis=0)).astype(int) - 1).tolist()
    x1, y1 = (np.ceil(outline.max(axis=0)).astype(int) + 2).tolist()
    alpha = np.zeros((y1 - y0, x1 - x0), dtype=np.uint8)
    _fill(alpha, outline - np.array((x0, y0), np.float32), figure.ends, [(255.0,)] * len(figure.ends))
    area = int(np.count_nonzero(alpha >= 128))
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, view.width), min(y1, view.height)
    if left < right and top < bottom:
        alpha = alpha[top - y0 : bottom - y0, left - x0 : right - x0]
        color = _paint(item, outline, (left, top, right, bottom), scale, light)
        region = canvas[top:bottom, left:right]
        region += (alpha * np.float32(1 / 255))[..., None] * (color - region)
        ids[top:bottom, left:right][alpha >= 128] = item.thing.instance
    return area


def _paint(
    item: Standing, outline: Float[np.ndarray, "n 2"], window: tuple[int, int, int, int], scale: float, light: Light
) -> Float[np.ndarray, "h w 3"]:
    """Colours of one thing in a window (x0, y0, x1, y1) of the frame; around its silhouette, a dark outline."""
    thing, figure = item.thing, item.figure
    left, top, right, bottom = window
    paint = np.zeros((bottom - top, right - left, 4), dtype=np.uint8)  # red, green, blue, strength of the texture
    paint[..., :3] = thing.palette.min(axis=0) * 0.6
    tones = np.round(thing.palette).tolist()
    values = [(*tones[tone], 255.0 * texture) for tone, texture in zip(figure.tones, figure.textures, strict=True)]
    _fill(paint, outline - np.array((left, top), np.float32), figure.ends, values)
    u = (np.arange(left, right, dtype=np.float32)[None] - item.foot[0]) / np.float32(scale * thing.size * thing.turn)
    v = (item.foot[1] - np.arange(top, bottom, dtype=np.float32)[:, None]) / np.float32(scale * thing.size)
    shade = 0.86 + 0.2 * np.clip(v, 0, 1) - 0.14 * np.clip(u, -1, 1)  # lit from above and from the left
    shade = shade + thing.texture(u, v) * (paint[..., 3] * np.float32(1 / 255))
    color = paint[..., :3] * shade[..., None] * light.color
    light.veil(color, item.depth)
    return color


def _fill(
    picture: UInt8[np.ndarray, "..."],
    points: Float[np.ndarray, "n 2"],
    ends: list[int],
    values: Sequence[tuple[float, ...]],
) -> None:
    """Fills each part's polygon with its value, antialiased; the centre of pixel (0, 0) is at (0.5, 0.5)."""
    fixed = np.rint((points - 0.5) * 2**_SHIFT).astype(np.int32)
    start = 0
    for end, value in zip(ends, values, strict=True):
        cv2.fillPoly(picture, [fixed[start:end]], value, cv2.LINE_AA, _SHIFT)
        start = end


def _seen(ids: Int[np.ndarray, "h w"], item: Standing, area: int) -> Seen | None:
    """The truth of one thing, or None where nothing of it shows."""
    mask = ids == item.thing.instance
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return None
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return Seen(item.thing.instance, item.thing.class_index, box, int(np.count_nonzero(mask)) / area, item.depth)


def _expose(canvas: Float[np.ndarray, "h w 3"], view: View) -> UInt8[np.ndarray, "h w 3"]:
    """Motion blur along `view.blur`, then sensor noise."""
    length = float(np.hypot(*view.blur))
    if length > 0.4:
        size = int(np.ceil(length)) // 2 * 2 + 3
        kernel = np.zeros((size, size), dtype=np.uint8)
        middle, half = (size - 1) / 2, np.array(view.blur) / 2
        ends = np.rint((np.stack([middle - half, middle + half])) * 16).astype(int).tolist()
        cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
        canvas = cv2.filter2D(canvas, -1, kernel.astype(np.float32) / np.float32(kernel.sum()))
    rng = np.random.default_rng(view.noise_seed)
    grain = rng.standard_normal(canvas.shape[:2], dtype=np.float32)[..., None] * np.float32(view.noise)
    return np.clip(canvas + grain + 0.5, 0, 255).astype(np.uint8)
