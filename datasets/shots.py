"""Find where a take ends: cuts, found by PySceneDetect while a video is decoded, and stretches without a picture.

Cuts: the content score of two successive frames (mean change of hue, saturation and lightness) exceeds `MIN_SCORE` and is
`RATIO` times the mean score of the `WINDOW` frames before and behind it (PySceneDetect's AdaptiveDetector), so that fast turns of
the camera are no cuts. Fades, and cuts in the last two frames, are not found.
"""

from collections import deque

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

SMALL_SIDE = 45  # pixels: a picture this small still shows a cut, with less of noise and small motion than a larger one
# Window and score are PySceneDetect's defaults. Its ratio is 3; where the camera never rests a cut stands out less: at 12 frames
# per second the mini world's planted cuts have ratios from 2.1 up, and what scores 15 without one at most 1.5, as in real takes.
WINDOW, RATIO, MIN_SCORE = 2, 1.8, 15.0
# Lightness (CIE L*, 0 to 100). A black, white or single-coloured picture varies less than that over its pixels ...
BLANK_CONTRAST = 1.0
# ... and a frozen one changes less than that from frame to frame (a codec's noise; a juggler before a fixed camera changes by 0.1
# at least), for so many seconds or more.
STILL_CHANGE, STILL_SECONDS = 0.05, 2.0

Small = UInt8[np.ndarray, "h w 3"]


class CutFinder:
    """Small BGR pictures of a video's frames go in, in order; times of cuts come out, `WINDOW` frames late.

    All it has to remember is `tail`: after a break, a new one fed with the old one's tail goes on as if nothing had happened.
    """

    def __init__(self, tail: list[tuple[float, Small]]) -> None:
        self.tail: deque[tuple[float, Small]] = deque(maxlen=2 * WINDOW + 1)
        from scenedetect import AdaptiveDetector

        self._detector = AdaptiveDetector(RATIO, min_scene_len=0, window_width=WINDOW, min_content_val=MIN_SCORE)
        self._fed = 0
        for seconds, small in tail:
            self.feed(seconds, small)

    def feed(self, seconds: float, small: Small) -> list[float]:
        """Times of the frames, if any, of which this one shows that they begin a new shot."""
        from scenedetect import FrameTimecode

        self.tail.append((seconds, small))
        # the detector counts frames; 25 per second is as good as any other rate
        cuts = self._detector.process_frame(FrameTimecode(self._fed, 25.0), small)
        self._fed += 1
        return [self.tail[cut.frame_num - self._fed][0] for cut in cuts]


def shots(
    seconds: Float64[np.ndarray, "n"], video: Int32[np.ndarray, "n"], cuts: list[list[float]]
) -> Int32[np.ndarray, "n"]:
    """Number of each frame's shot in its video; a cut is the time of a shot's first frame."""
    shot = np.zeros(len(seconds), np.int32)
    for number, times in enumerate(cuts):
        shot[video == number] = np.searchsorted(times, seconds[video == number], side="right")
    return shot


def blanks(
    seconds: Float64[np.ndarray, "n"], contrast: Float32[np.ndarray, "n"], change: Float32[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    """Frames that show nothing: one colour, or a picture that stands still for `STILL_SECONDS`.

    `contrast` is the standard deviation of L* in a frame, `change` its mean difference from the frame before (NaN for the first
    frame of a video).
    """
    blank = contrast < BLANK_CONTRAST
    starts = np.flatnonzero(~(change < STILL_CHANGE))  # frames that differ from the one before begin a run
    for first, end in zip(starts, [*starts[1:], len(seconds)], strict=True):
        if seconds[end - 1] - seconds[first] >= STILL_SECONDS:
            blank[first:end] = True
    return blank
