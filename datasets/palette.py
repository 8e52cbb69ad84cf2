"""The colours that Pascal VOC and DAVIS give to label numbers."""

import numpy as np
from jaxtyping import UInt8


def color_map() -> UInt8[np.ndarray, "256 3"]:
    """RGB of labels 0 to 255: bits 0, 3, 6 of the label are the highest bits of red, 1, 4, 7 of green, 2, 5 of blue.

    The rule of VOC's development kit (VOClabelcolormap), which DAVIS took over.
    """
    labels, colors = np.arange(256), np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (labels >> (3 * place + channel)) & 1
            colors[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return colors


PALETTE = color_map()
