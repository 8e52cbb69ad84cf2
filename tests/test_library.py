"""The public names: each is there, where type checkers look and where Python looks."""

import ast
import inspect

import numpy as np
import pytest

import longtake


def test_type_checkers_and_python_find_the_same_names():
    tree = ast.parse(inspect.getsource(longtake))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {alias.asname: node.module for node in block.body for alias in node.names if alias.name == alias.asname}
    assert shown == longtake.HOME_OF
    for name in longtake.__all__:
        assert getattr(longtake, name) is not None
    assert set(dir(longtake)) == set(longtake.__all__)
    with pytest.raises(AttributeError, match="no attribute 'dino_los'"):
        longtake.dino_los  # noqa: B018


def test_the_version_is_the_installed_ones():
    assert longtake.__version__[0].isdigit()


def test_scorers_take_arrays():
    truth = np.zeros((4, 32, 32), np.uint8)
    truth[:, 8:24, 8:24] = 1
    moved = np.roll(truth, 8, axis=2)  # the overlap is a third
    scores = longtake.j_and_f({"still": (truth, truth), "moved": (truth, moved)})
    assert scores["J-Mean"] == pytest.approx((1 + 1 / 3) / 2)
    assert longtake.mean_iou(truth, moved, num_classes=2) == pytest.approx((1 / 3 + 640 / 896) / 2)
    assert longtake.mean_iou(truth, truth, num_classes=3) == 1.0
    objects = np.array([[0, 0, 10, 10]])
    assert longtake.corloc([(0, 0, 10, 10), (20, 20, 30, 30), (0, 0, 1, 1)], [objects, objects, objects[:0]]) == 0.5
    with pytest.raises(ValueError, match="1 boxes and 2 images"):
        longtake.corloc([(0, 0, 1, 1)], [objects, objects])
    boxes = np.array([[0.0, 0, 10, 10]] * 3)
    shifted = np.add(boxes, [[0, 0, 0, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    assert longtake.average_overlap(shifted, boxes, (100, 100)) == pytest.approx((1 / 3 + 1) / 2)
    assert longtake.average_overlap(shifted, boxes, (100, 100), np.array([1, 1, 0])) == pytest.approx(1 / 3)
