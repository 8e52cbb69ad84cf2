"""Interlaced video: a frame holds the lines of two moments, every second line each; stored as it is, whatever moves is combed.

FFmpeg's bwdif (the missing lines of a field are found from those around them, in the picture and in time) makes a whole picture of
one field of every frame that says it is interlaced; others pass unchanged. Frames keep their number and their times.
"""

from collections import deque
from collections.abc import Iterator

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from longtake.datasets.packets import TimedFrames

SETTINGS = "mode=send_frame:deint=interlaced"  # a frame for a frame, and only of those that say so


def whole_pictures(frames: TimedFrames) -> TimedFrames:
    """The frames, none of them interlaced. Up to the first that is nothing is touched; the one before it is its neighbour."""
    graph: Graph | None = None
    before: VideoFrame | None = None
    waiting: deque[float] = deque()  # times of the frames that are in the filter, which is one frame late
    surplus = 0  # frames to come that have been given already
    for seconds, frame in frames:
        if graph is None and not frame.interlaced_frame:
            before = frame
            yield seconds, frame
            continue
        if graph is None:
            graph = _graph_like(frame)
            surplus = 0 if before is None else 1
            if before is not None:
                graph.push(before)
        graph.push(frame)
        waiting.append(seconds)
        for made in _ready(graph):
            if surplus:
                surplus -= 1
            else:
                yield waiting.popleft(), made
    if graph is not None:
        graph.push(None)
        for made in _ready(graph):
            if surplus:
                surplus -= 1
            else:
                yield waiting.popleft(), made


def _graph_like(frame: VideoFrame) -> Graph:
    """A filter for frames like this one."""
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("bwdif", SETTINGS), graph.add("buffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[VideoFrame]:
    """The frames that the filter has finished."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, VideoFrame)
        yield frame
