"""`decoder=torchcodec`: another way from a file to its frames, for machines whose GPU decodes video.

Its frames come upright and in RGB. It ends at the first damaged frame; PyAV can skip those.
"""

from pathlib import Path
from typing import Any

import torch
from av.video.frame import VideoFrame

from longtake.datasets.packets import TimedFrames, VideoError


def torchcodec_frames(path: Path, start: float) -> TimedFrames:
    """Frames in presentation order, from at least one frame before `start` on.

    Raises `VideoError` when torchcodec is not installed, does not load, or cannot decode a frame.
    """
    decoder, seconds = _open(path), start
    try:
        index = _index_before(start, decoder)
        for i in range(index, len(decoder)):
            frame = decoder.get_frame_at(i)
            seconds = _seconds(frame, decoder)
            yield seconds, VideoFrame.from_ndarray(frame.data.cpu().numpy(), format="rgb24")
    except RuntimeError as error:
        raise VideoError(
            f"{path}: torchcodec cannot decode the frame after {seconds:.2f} s; try pretrain.decoder=pyav, "
            "which can also skip damaged frames (skip_corrupt=true)"
        ) from error


def _open(path: Path) -> Any:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:  # a wheel for another torch or FFmpeg fails while it loads
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise VideoError(
            f"pretrain.decoder=torchcodec: torchcodec does not import ({reason}); pip install torchcodec and FFmpeg's "
            "libraries, or use pretrain.decoder=pyav"
        ) from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=0, device=device)
    except (RuntimeError, ValueError) as error:
        raise VideoError(f"{path}: torchcodec cannot open it; try pretrain.decoder=pyav") from error


def _index_before(start: float, decoder: Any) -> int:
    """A frame before `start`, close to it where the frame rate is constant."""
    index = min(int(start * decoder.metadata.average_fps), len(decoder) - 1)
    while index > 0 and _seconds(decoder.get_frame_at(index), decoder) >= start:
        index = max(0, index - 8)
    return index


def _seconds(frame: Any, decoder: Any) -> float:
    return float(frame.pts_seconds) - (decoder.metadata.begin_stream_seconds or 0.0)
