"""The sixteen classes of the mini world.

A drawing takes a `Pen`, the object's own random numbers (`Variation`) and a `phase` in radians that grows with the distance
covered (one step, one turn of a wheel) or, for what stands still, with time. Class is in shape and parts alone: every drawing uses
the same five tones, whose colours and texture belong to the object.
"""

from collections.abc import Callable

from longtake.datasets.mini.fixtures import balloon, bench, hydrant, lamp, mailbox, sign, tree, umbrella
from longtake.datasets.mini.movers import bicycle, bird, car, cart, cat, dog, person, stroller
from longtake.datasets.mini.shapes import Pen, Variation

Drawing = Callable[[Pen, Variation, float], None]

_ALL: tuple[Drawing, ...] = (
    person, bicycle, car, dog, cat, bird, tree, bench, sign, umbrella, cart, balloon, lamp, mailbox, hydrant, stroller,
)  # fmt: skip

DRAWINGS: dict[str, Drawing] = {drawing.__name__: drawing for drawing in _ALL}
CLASSES: tuple[str, ...] = tuple(DRAWINGS)
"""A class index, here and in every file of the world, is a position in this tuple."""
