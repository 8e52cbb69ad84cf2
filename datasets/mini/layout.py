"""Places of everything in the mini world: the walk and the single pictures, both drawn from seeds alone."""

import itertools
from dataclasses import replace
from math import cos, pi, sin
from typing import Any

import numpy as np
from jaxtyping import Float

from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.paint import LEFT, RIGHT
from longtake.datasets.mini.scene import Rendered, Scene, View, render
from longtake.datasets.mini.street import Street
from longtake.datasets.mini.things import Thing, random_thing

_SPEED = 1.5  # of the camera, metres per second
_EYE = 1.25  # its height in metres: a child's, so that toy-sized things stand before the houses, not before the paving
_PATH = -0.5  # x of its way
_CLEARANCE = 0.5  # metres to each side of the way that stay free

_RESTLESS = ("person", "dog", "bird", "bicycle", "stroller")  # go to and fro where others stand
_ON_ROAD = ("bicycle", "car", "cart", "stroller")

_MIN_VISIBLE = 0.6  # of a picture's main object
_DEFOCUS = 0.02  # of what lies behind it: standard deviation, share of the side


def walk_scene(
    street: Street, seed: list[int], times: Float[np.ndarray, " frames"], height: int, width: int, duration: float
) -> Scene:
    """The camera walks down the street for `duration` seconds, seen at `times`."""
    rng = np.random.default_rng(seed)
    things = _walk_things(rng, duration)
    phases = rng.uniform(0, 2 * pi, 6)
    views = [_walking(time, duration, phases, height, width, int(rng.integers(2**31))) for time in times.tolist()]
    return Scene(street, things, views)


def _walk_things(rng: np.random.Generator, duration: float) -> list[Thing]:
    """Things that stand, things met or overtaken, and companions that cross the view, leave it, and come back."""
    things: list[Thing] = []
    classes = itertools.chain.from_iterable(rng.permutation(len(CLASSES)).tolist() for _ in itertools.count())

    def add(**motion: Any) -> Thing:
        """The next of the shuffled decks of classes: all are met equally often, in any order."""
        class_index = next(classes)
        hover = float(rng.uniform(0.2, 1.3)) if CLASSES[class_index] == "balloon" and rng.random() < 0.4 else 0.0
        if not motion and CLASSES[class_index] in _RESTLESS:
            motion = {"swing": tuple(rng.uniform((0.3, 7, 0), (0.9, 12, 2 * pi)).tolist())}
        return random_thing(rng, len(things) + 1, class_index, start=(0.0, 0.0), hover=hover, **motion)

    def beside_the_path(thing: Thing, z: float, spread: float) -> Thing:
        """Up to `spread` times its size from where it would touch the camera: the small ones stand nearest."""
        half = float(np.abs(thing.figure(0.0).points[:, 0]).max())
        on_road = CLASSES[thing.class_index] in _ON_ROAD and rng.random() < 0.7
        side = 1.0 if on_road else rng.choice([-1.0, 1.0])
        x = _PATH + side * (_CLEARANCE + half + thing.swing[0] + thing.size * rng.uniform(0, spread))
        return replace(thing, start=(float(np.clip(x, LEFT + 0.4, RIGHT - 0.6)), z))

    z = 1.5
    while z < _SPEED * duration + 30:
        things.append(beside_the_path(add(), z, spread=0.75))
        z += float(rng.uniform(0.7, 1.2))
    for time in np.arange(-8.0, duration, 2.0).tolist():
        speed = float(rng.choice([-1.0, -0.5, 0.6]) * rng.uniform(0.8, 1.2))
        abreast = _SPEED * (time + 8) + 3  # of the camera, eight seconds after it begins to live
        thing = add(speed=speed, alive=(time, time + 14.0))
        things.append(beside_the_path(thing, abreast - speed * (time + 8), spread=0.5))
    for time in np.arange(-6.0, duration, 3.0).tolist():
        period = float(rng.uniform(14, 20))
        swing = (
            float(rng.uniform(2.6, 3.2)),
            period,
            -2 * pi * time / period - pi / 2,
        )  # begins at the left, out of view
        thing = add(speed=_SPEED, swing=swing, alive=(time, time + 1.5 * period))
        ahead = max(thing.size * float(rng.uniform(1.5, 2.6)), 2.0)
        things.append(replace(thing, start=(_PATH, 1.0 + ahead)))
    return things


def _walking(
    time: float, duration: float, phases: Float[np.ndarray, " 6"], height: int, width: int, noise_seed: int
) -> View:
    """Bobbing at two steps per second, slow turns to the left and right, from day to dusk."""

    def wave(k: int, period: float) -> float:
        return sin(2 * pi * time / period + float(phases[k]))

    def turning(k: int, period: float) -> float:
        """Derivative of the wave, per second."""
        return 2 * pi / period * cos(2 * pi * time / period + float(phases[k]))

    focal, exposure = 0.8 * height, 1 / 60
    sideways = 0.3 * turning(0, 17.0) + 0.16 * turning(1, 7.0)  # radians per second
    return View(
        height=height,
        width=width,
        focal=focal,
        center=(width / 2, height * 0.46),
        position=(_PATH + 0.3 * wave(2, 23.0), _EYE + 0.035 * wave(3, 0.55), 1.0 + _SPEED * time),
        yaw=0.3 * wave(0, 17.0) + 0.16 * wave(1, 7.0),
        pitch=0.025 * wave(4, 5.3) + 0.006 * wave(3, 0.55),
        roll=0.014 * wave(5, 1.1),
        time=time,
        dusk=time / duration,
        blur=(sideways * exposure * focal, 0.012 * turning(3, 0.55) * exposure * focal),
        noise_seed=noise_seed,
    )


def picture_scene(street: Street, seed: list[int], class_index: int, side: int) -> tuple[Scene, Rendered]:
    """A square picture that one object (instance 1) fills mostly, and its rendering; `side` in pixels.

    Drawn again from the same generator until enough of the object is visible.
    """
    rng = np.random.default_rng(seed)
    while True:
        scene = _picture_attempt(street, rng, class_index, side)
        rendered = render(scene, 0)
        if any(seen.instance == 1 and seen.visible >= _MIN_VISIBLE for seen in rendered.objects):
            return scene, rendered


def _picture_attempt(street: Street, rng: np.random.Generator, class_index: int, side: int) -> Scene:
    """Places camera, object and distractors, then zooms so that the object fills 58 to 95 % of the picture."""
    time, yaw, depth = float(rng.uniform(0, 60)), float(rng.uniform(-0.6, 0.6)), float(rng.uniform(2.2, 5.0))
    eye = float(rng.uniform(-1.5, 1.0)), float(rng.uniform(1.0, 1.6)), float(rng.uniform(0, 150))

    def spot(right: float, away: float) -> tuple[float, float]:
        x, z = eye[0] + away * sin(yaw) + right * cos(yaw), eye[2] + away * cos(yaw) - right * sin(yaw)
        return float(np.clip(x, LEFT + 0.3, RIGHT - 0.3)), z

    hover = float(rng.uniform(0.1, 0.5)) if rng.random() < 0.15 else 0.0
    main = random_thing(rng, 1, class_index, start=spot(float(rng.uniform(-0.5, 0.5)), depth), hover=hover)
    roll = float(rng.normal(0, 0.04))
    view = View(side, side, focal=1.0, center=(0.0, 0.0), position=eye, yaw=yaw, roll=roll, time=time)
    points = main.figure(time).points
    low, high = points.min(axis=0), points.max(axis=0)
    feet, depths = view.project(np.array([main.position(time)], np.float32))  # with a focal length of one pixel
    scale = float(rng.uniform(0.58, 0.95)) * side / float((high - low).max())  # pixels per metre at the object
    focal = scale * float(depths[0])
    middle = feet[0] * focal + (low + high) / 2 * scale * np.array((1, -1), np.float32)
    x, y = (side / 2 - middle + rng.normal(0, 0.05, 2) * side).tolist()  # where the optical axis meets the crop
    things = [main]
    for k in range(int(rng.integers(1, 5))):
        away = depth * float(rng.uniform(0.8, 2.8))
        right = away * (side * float(rng.uniform(-0.1, 1.1)) - x) / focal
        things.append(random_thing(rng, k + 2, int(rng.integers(len(CLASSES))), start=spot(right, away)))
    blur = tuple((rng.normal(0, 0.012, 2) * side).tolist())
    dusk, noise_seed = float(rng.uniform(0, 1)), int(rng.integers(2**31))
    view = replace(
        view, focal=focal, center=(x, y), sharp_up_to=depth * 1.1, defocus=_DEFOCUS * side, dusk=dusk, blur=blur,
        noise=4.0, noise_seed=noise_seed,
    )  # fmt: skip
    return Scene(street, things, [view])
