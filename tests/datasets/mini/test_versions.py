"""The hash of a number knows the renderer by its versions alone: here is what versions mean. Another look needs another version."""

import json
from itertools import islice
from pathlib import Path

import numpy as np

from longtake.datasets.mini.dense import scenes
from longtake.datasets.mini.formats import davis_sequences, voc_pictures
from longtake.datasets.mini.objects import CLASSES
from longtake.datasets.mini.tracks import track_sequences
from longtake.datasets.mini.world import picture, walk_frame
from longtake.datasets.mini.worlds import FORMATS_VERSION, RENDERER_VERSION, World

SMALL = World("looks", height=64, width=96, fps=10, seconds=4, texels_per_metre=8, image_size=32)
KNOWN = Path(__file__).with_name("looks.json")
CELLS = 4  # of a picture, along each side
TOLERANCE = (
    0.05  # levels of 255, on the mean of a cell: more than another processor's rounding, less than any other drawing
)


def cells(*images: np.ndarray) -> list[list[float]]:
    """Mean level of each cell of each picture, or mask."""
    found = []
    for image in images:
        rows = np.array_split(np.asarray(image, np.float64), CELLS)
        found.append([float(part.mean()) for row in rows for part in np.array_split(row, CELLS, axis=1)])
    return found


def looks() -> dict[str, list]:
    """Something of everything that is rendered: all classes, the walk by day and dusk, every format with its truth."""
    _, frames, masks = next(iter(davis_sequences(SMALL)))
    voc = list(islice(voc_pictures(SMALL), 2))
    _, image, pixels, objects = next(iter(scenes(SMALL, "val")))
    track = next(iter(track_sequences(SMALL, "val")))
    return {
        "pictures": cells(*(picture(SMALL, "test", index, 0) for index in range(len(CLASSES)))),
        "walk": cells(*(walk_frame(SMALL, frame).image for frame in (0, 20, 39))),
        "voc": cells(*(item.image for item in voc), *(item.mask for item in voc)),
        "voc boxes": [item.boxes.tolist() for item in voc],
        "davis": cells(frames[0], frames[-1], masks[0], masks[-1]),
        "dense": cells(image, pixels, *(mask.pixels for mask in objects)),
        "got10k": cells(track.frames[0], track.frames[-1]),
        "got10k boxes": [track.boxes[0].tolist(), track.boxes[-1].tolist()],
    }


def test_what_is_rendered_is_what_its_version_says() -> None:
    """When a look is meant to change: raise RENDERER_VERSION or FORMATS_VERSION, and write `looks()` into looks.json."""
    known = json.loads(KNOWN.read_text())
    assert known["versions"] == [RENDERER_VERSION, FORMATS_VERSION], "looks.json is of other versions"
    found = looks()
    assert found.keys() == known.keys() - {"versions"}
    for name, values in found.items():
        tolerance = 0 if name.endswith("boxes") else TOLERANCE
        for number, (new, old) in enumerate(zip(values, known[name], strict=True)):
            assert np.allclose(new, old, rtol=0, atol=tolerance), (
                f"{name} {number}: another look under the same version"
            )
