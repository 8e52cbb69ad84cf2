"""The mini world's renderer: truth against pixels, camera against rays, classes against their promises."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtake.datasets.mini.layout import picture_scene, walk_scene
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.scene import Scene, View, render
from longtake.datasets.mini.street import STUFF, Street, build_street
from longtake.datasets.mini.things import random_thing

SECONDS = 180.0


@pytest.fixture(scope="module")
def street() -> Street:
    return build_street([3], 8.0)


@pytest.fixture(scope="module")
def walk(street: Street) -> Scene:
    """Two frames per second of a walk as long as that of the `mini` world, in small."""
    return walk_scene(street, [5], np.arange(0, SECONDS, 0.5), 60, 80, SECONDS)


@pytest.mark.parametrize("frame", [0, 100, 200, 359])
def test_boxes_ids_semantic_and_visible_fractions_agree(walk: Scene, frame: int) -> None:
    rendered = render(walk, frame)
    assert sorted(seen.instance for seen in rendered.objects) == [k for k in np.unique(rendered.ids) if k > 0]
    for seen in rendered.objects:
        rows, columns = np.nonzero(rendered.ids == seen.instance)
        assert seen.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert 0 < seen.visible <= 1
        assert (rendered.semantic[rows, columns] == len(STUFF) + seen.class_index).all()
    assert (rendered.semantic[rendered.ids == 0] < len(STUFF)).all()
    depths = [seen.depth for seen in rendered.objects]
    assert depths == sorted(depths)


def test_visible_fraction_is_one_alone_and_falls_by_what_covers_it(street: Street) -> None:
    view = View(96, 96, focal=80.0, center=(48.0, 40.0), position=(0.0, 1.2, 0.0))
    rng = np.random.default_rng(0)
    car = random_thing(rng, 1, CLASSES.index("car"), start=(0.0, 4.0))
    tree = random_thing(rng, 2, CLASSES.index("tree"), start=(0.1, 2.5))
    alone, both = render(Scene(street, [car], [view]), 0), render(Scene(street, [car, tree], [view]), 0)
    (whole,), covered = alone.objects, both.objects[1]
    assert whole.visible == 1.0
    assert (covered.instance, covered.visible) == (1, (both.ids == 1).sum() / (alone.ids == 1).sum())
    assert 0.2 < covered.visible < 0.9


def test_pixels_outside_the_frame_count_as_not_visible(street: Street) -> None:
    car = random_thing(np.random.default_rng(0), 1, CLASSES.index("car"), start=(0.0, 4.0))
    whole = View(96, 96, focal=80.0, center=(48.0, 40.0), position=(0.0, 1.2, 0.0))
    half = View(96, 48, focal=80.0, center=(48.0, 40.0), position=(0.0, 1.2, 0.0))
    inside = [render(Scene(street, [car], [view]), 0) for view in (whole, half)]
    assert inside[1].objects[0].visible == (inside[0].ids[:, :48] == 1).sum() / (inside[0].ids == 1).sum() < 0.9


def test_defocus_blurs_what_lies_behind_and_leaves_the_truth(street: Street) -> None:
    sharp = View(96, 96, focal=80.0, center=(48.0, 40.0), position=(0.0, 1.2, 0.0), sharp_up_to=3.0, noise=0.0)
    rng = np.random.default_rng(0)
    car = random_thing(rng, 1, CLASSES.index("car"), start=(0.0, 4.0))
    tree = random_thing(rng, 2, CLASSES.index("tree"), start=(0.1, 2.5))
    before, after = (render(Scene(street, [car, tree], [view]), 0) for view in (sharp, replace(sharp, defocus=3.0)))
    np.testing.assert_array_equal(before.ids, after.ids)
    assert before.objects == after.objects
    inside = cv2.erode((before.ids == 2).astype(np.uint8), np.ones((3, 3), np.uint8)) == 1
    assert inside.sum() > 50
    np.testing.assert_array_equal(before.image[inside], after.image[inside])
    detail = [
        np.abs(np.diff(image.image.astype(float), axis=1))[before.ids[:, 1:] == 1].mean() for image in (before, after)
    ]
    assert detail[1] < 0.7 * detail[0]


def test_every_class_is_met_about_equally_often_and_large_in_the_walk(walk: Scene) -> None:
    instances = np.bincount([thing.class_index for thing in walk.things], minlength=len(CLASSES))
    assert instances.max() - instances.min() <= 1
    large = np.zeros(len(CLASSES), dtype=int)
    crowded = 0
    for frame in range(0, len(walk.views), 6):
        seen = [s for s in render(walk, frame).objects if s.visible > 0.5 and s.box[3] - s.box[1] > 0.25 * 60]
        large[[s.class_index for s in seen]] += 1
        crowded += len(seen) >= 2
    assert (large > 0).all()
    assert crowded > 0.8 * len(walk.views) / 6


def test_tracks_leave_the_view_and_come_back(street: Street) -> None:
    walk = walk_scene(street, [5], np.arange(40, 80, 1.0), 60, 80, SECONDS)
    visible: dict[int, list[int]] = {}
    for frame in range(len(walk.views)):
        for seen in render(walk, frame).objects:
            visible.setdefault(seen.instance, []).append(frame)
    gaps = {instance: int(np.diff(frames).max(initial=1)) for instance, frames in visible.items()}
    assert sum(gap >= 3 for gap in gaps.values()) >= 3  # away for two seconds or longer


@pytest.mark.parametrize("class_index", range(len(CLASSES)), ids=CLASSES)
def test_a_picture_shows_its_object_large_and_mostly_whole(street: Street, class_index: int) -> None:
    _, rendered = picture_scene(street, [9, class_index], class_index, 64)
    (main,) = [seen for seen in rendered.objects if seen.instance == 1]
    x0, y0, x1, y1 = main.box
    assert main.class_index == class_index
    assert main.visible >= 0.6
    assert max(x1 - x0, y1 - y0) > 0.4 * 64
    assert abs((x0 + x1) / 2 - 32) < 20
    assert abs((y0 + y1) / 2 - 32) < 20


@pytest.mark.parametrize("class_index", range(len(CLASSES)), ids=CLASSES)
def test_drawings_move_but_keep_their_proportions_and_stay_within_reach(class_index: int) -> None:
    for seed in range(20):
        thing = random_thing(np.random.default_rng(seed), 1, class_index, start=(0.0, 0.0), speed=1.0)
        figures = [thing.figure(time) for time in (0.0, 0.4, 0.8)]
        assert len({tuple(figure.ends) for figure in figures}) == 1
        assert max(np.abs(figure.points).max() for figure in figures) < 1.4 * thing.size
        spread = [np.ptp(figure.points, axis=0) for figure in figures]
        np.testing.assert_allclose(spread[1], spread[0], atol=0.45 * thing.size)


def test_colours_do_not_depend_on_the_class() -> None:
    first, *others = (random_thing(np.random.default_rng(4), 1, k, start=(0.0, 0.0)) for k in range(len(CLASSES)))
    for thing in others:
        np.testing.assert_array_equal(thing.palette, first.palette)
        assert vars(thing.texture) == vars(first.texture)


@settings(max_examples=30, deadline=None)
@given(
    yaw=st.floats(-0.6, 0.6), pitch=st.floats(-0.2, 0.2), roll=st.floats(-0.2, 0.2), row=st.integers(0, 29),
    column=st.integers(0, 39), depth=st.floats(0.6, 30),
)  # fmt: skip
def test_projection_inverts_the_rays(
    yaw: float, pitch: float, roll: float, row: int, column: int, depth: float
) -> None:
    view = View(30, 40, 25.0, (19.0, 14.0), position=(0.3, 1.3, 7.0), yaw=yaw, pitch=pitch, roll=roll)
    point = np.array(view.position, np.float32) + np.float32(depth) * view.rays()[row, column]
    pixels, depths = view.project(point[None])
    np.testing.assert_allclose(pixels[0], (column + 0.5, row + 0.5), atol=2e-2)
    np.testing.assert_allclose(depths[0], depth, rtol=1e-3)


def test_street_is_sky_above_ground_below_and_repeats(street: Street) -> None:
    def look(z: float) -> tuple[np.ndarray, np.ndarray]:
        scene = Scene(street, [], [View(60, 80, 48.0, (40.0, 28.0), position=(0.0, 1.3, z), noise=0.0)])
        rendered = render(scene, 0)
        return rendered.image, rendered.semantic

    image, semantic = look(20.0)
    assert set(np.unique(semantic)) == set(range(len(STUFF)))
    assert STUFF[semantic[0, 40]] == "sky"
    assert STUFF[semantic[59, 30]] == "pavement"
    assert STUFF[semantic[59, 79]] == "road"
    assert STUFF[semantic[25, 0]] == "facade"
    again, _ = look(20.0 + 160.0)
    assert np.abs(image.astype(int) - again).mean() < 1.0
    elsewhere, _ = look(60.0)
    assert np.abs(image.astype(int) - elsewhere).mean() > 5.0
