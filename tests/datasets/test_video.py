"""Tiny H.264 files, in which every frame tells its number by its grey level, go in; frames and their times come out."""

from fractions import Fraction
from itertools import islice
from operator import attrgetter
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from videos import MARKED, bar, damage, flat, interlaced, numbers, packets, shown_by, textured, write

from longtake.datasets.interlaced import _graph_like, _ready, whole_pictures
from longtake.datasets.packets import VideoError, opened, refusal, timed_frames
from longtake.datasets.video import _nearest_to_lattice, decode, probe
from longtake.datasets.video_files import doubts


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001), 60])
def test_frames_come_in_order_with_their_times(tmp_path: Path, rate: Fraction) -> None:
    path = write(tmp_path / "a.mp4", flat(100), rate)
    assert any(packet.pts != packet.dts for packet in packets(path))  # it has B-frames
    frames = list(decode(path))
    assert numbers(frames) == [i % 43 for i in range(100)]
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(100) / float(rate), atol=1e-4)


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    gaps = np.random.default_rng(0).choice([1, 2, 3, 12], 59)
    times = [Fraction(int(t), 60) for t in np.concatenate([[0], gaps.cumsum()])]
    frames = list(decode(write(tmp_path / "a.mp4", flat(60), 60, times)))
    assert numbers(frames) == [i % 43 for i in range(60)]
    np.testing.assert_allclose([f.seconds for f in frames], [float(t) for t in times], atol=1e-4)


def test_times_start_at_the_start_of_the_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", flat(30), times=[Fraction(i, 25) + 7 for i in range(30)])
    np.testing.assert_allclose([f.seconds for f in decode(path)], np.arange(30) / 25, atol=1e-4)


def test_frames_without_times_are_placed_by_the_average_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h264", flat(30))
    assert all(packet.pts is None for packet in packets(path))
    np.testing.assert_allclose([f.seconds for f in decode(path)], np.arange(30) / 25)
    assert (probe(path).num_frames, probe(path).seconds, probe(path).timed) == (30, 1.2, False)


def test_probe(tmp_path: Path) -> None:
    info = probe(write(tmp_path / "a.mp4", flat(50), 20, rotation=90))
    assert (info.codec, info.width, info.height, info.rotation) == ("h264", 64, 96, 90)
    assert (info.fps, info.seconds, info.num_frames) == (20, 2.5, 50)


# counterclockwise by the angle: the white quarter moves from upper left to ...
@pytest.mark.parametrize(("angle", "rows", "columns"), [(90, 1, 0), (-90, 0, 1), (180, 1, 1), (0, 0, 0)])
@pytest.mark.parametrize("short_side", [None, 32])
def test_rotation_is_applied(tmp_path: Path, angle: int, rows: int, columns: int, short_side: int | None) -> None:
    *_, frame = decode(write(tmp_path / "a.mp4", [MARKED] * 3, rotation=angle), short_side=short_side)
    height, width = (96, 64) if angle % 180 else (64, 96)
    scale = 1 if short_side is None else 2
    assert frame.image.shape == (height // scale, width // scale, 3)
    quarters = frame.image.reshape(2, height // scale // 2, 2, width // scale // 2, 3).mean((1, 3, 4))
    expected = np.zeros((2, 2))
    expected[rows, columns] = 255
    np.testing.assert_allclose(quarters, expected, atol=6)


# where the axes of the stored picture point to on the screen, y down; the white quarter is where both begin
@pytest.mark.parametrize("across", [(1, 0), (-1, 0), (0, 1), (0, -1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_every_display_matrix_is_applied(tmp_path: Path, across: tuple[int, int], sign: int) -> None:
    """Four of the eight are rotations; cameras that mirror themselves (dashcams, front cameras) write the others."""
    a, b = across
    c, d = sign * -b, sign * a
    path = shown_by(write(tmp_path / "a.mp4", [MARKED] * 3), a, b, c, d)
    *_, frame = decode(path)
    height, width = (96, 64) if b else (64, 96)
    assert frame.image.shape == (height, width, 3)
    quarters = frame.image.reshape(2, height // 2, 2, width // 2, 3).mean((1, 3, 4))
    expected = np.zeros((2, 2))
    expected[int(b + d < 0), int(a + c < 0)] = 255
    np.testing.assert_allclose(quarters, expected, atol=6)
    assert probe(path).mirrored == probe(path).read_anew == (sign < 0)


def test_odd_sizes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", flat(3, 65, 97), pix_fmt="yuv444p")
    assert {f.image.shape for f in decode(path)} == {(65, 97, 3)}
    assert {f.image.shape for f in decode(path, short_side=31)} == {(31, 46, 3)}  # 97 * 31 / 65 = 46.3
    assert {f.image.shape for f in decode(path, short_side=500)} == {(65, 97, 3)}  # never enlarged


@pytest.mark.parametrize(("transfer", "hdr"), [(1, False), (16, True), (18, True)])
def test_ten_bits_are_decoded_and_hdr_is_noticed(tmp_path: Path, transfer: int, hdr: bool) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        stream.codec_context.color_trc = transfer
        image = av.VideoFrame.from_ndarray(np.full((64, 96, 3), (200, 40, 90), np.uint8), format="rgb24")
        for packet in (*stream.encode(image.reformat(format="yuv420p10le")), *stream.encode(None)):
            container.mux(packet)
    assert probe(tmp_path / "a.mp4").hdr is hdr
    np.testing.assert_allclose(
        next(decode(tmp_path / "a.mp4")).image, np.broadcast_to((200, 40, 90), (64, 96, 3)), atol=4
    )


def test_resizing_averages_areas(tmp_path: Path) -> None:
    image = textured(2)[1][:, :, :1].repeat(3, 2)  # grey edges on odd columns: half of the averages mix two blocks
    path = write(tmp_path / "a.mp4", [image])
    whole, half = next(decode(path)).image, next(decode(path, short_side=32)).image
    np.testing.assert_allclose(half, whole.reshape(32, 2, 48, 2, 3).mean((1, 3)), atol=4)


# BT.601 and BT.709 matrices, limited (1) and full (2) range: numbers of ITU-T H.273 as FFmpeg has them
@pytest.mark.parametrize(("matrix", "number", "value_range"), [("ITU601", 5, 1), ("ITU709", 1, 1), ("ITU709", 1, 2)])
def test_colours_follow_the_matrix_and_range_of_the_stream(
    tmp_path: Path, matrix: str, number: int, value_range: int
) -> None:
    image = np.full((64, 96, 3), (200, 40, 90), np.uint8)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = number, value_range
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        container.mux(
            stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=value_range))
        )
        container.mux(stream.encode(None))
    np.testing.assert_allclose(next(decode(tmp_path / "a.mp4")).image, image, atol=4)


@given(
    gaps=st.lists(st.integers(1, 400), min_size=0, max_size=40),
    frames_per_second=st.sampled_from([0.5, 1.0, 7.0, 12.5, 30.0]),
)
def test_kept_frames_are_those_nearest_to_the_lattice(gaps: list[int], frames_per_second: float) -> None:
    times = np.concatenate([[0], np.cumsum(gaps)]) / 100
    frames = _nearest_to_lattice(((float(t), None) for t in times), frames_per_second)  # type: ignore[misc]
    kept = [frame.seconds for frame in frames if frame.kept]
    end = times[-1] + (gaps[-1] / 200 if gaps else 0)
    points = np.arange(0, end + 1e-9, 1 / frames_per_second)
    assert kept == sorted({float(times[np.abs(times - point).round(9).argmin()]) for point in points})


@pytest.mark.parametrize("name", ["closed.mp4", "open.mp4", "bare.h264", "stream.ts", "a.mkv"])
@pytest.mark.parametrize("frames_per_second", [None, 7.0])
def test_a_start_gives_exactly_the_rest(tmp_path: Path, name: str, frames_per_second: float | None) -> None:
    group = (
        {"x264-params": "b-adapt=0:open-gop=1:keyint=25:min-keyint=25:scenecut=0"}
        if name == "open.mp4"
        else {"g": "30"}
    )
    path = write(tmp_path / name, textured(100), **group)
    whole = list(decode(path, frames_per_second=frames_per_second))
    for start in (0.02, 1.0, 1.2, 2.36, 3.96):
        rest = list(decode(path, frames_per_second=frames_per_second, start=start))
        expected = [frame for frame in whole if frame.seconds >= start]
        assert [f.seconds for f in rest] == [f.seconds for f in expected]
        assert all((a.image == b.image).all() for a, b in zip(rest, expected, strict=True))


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    path = damage(write(tmp_path / "walk.mp4", textured(100), g="30"), 50)
    with pytest.raises(
        VideoError, match=r"walk\.mp4: cannot decode the frame at about (\d\.\d\d) s.*skip_corrupt"
    ) as error:
        list(decode(path))
    broken = float(packets(path)[50].pts * Fraction(1, 12800))
    named = float(str(error.value).split("about ")[1].split(" s")[0])
    assert broken - 5 / 25 <= named <= broken  # frames that wait to be put in order are lost, too


@pytest.mark.parametrize("packet", [0, 31, 50, 60, 97, 99])
def test_skipped_and_kept_frames_make_the_whole(tmp_path: Path, packet: int) -> None:
    path = write(tmp_path / "walk.mp4", textured(100), g="30")
    clean = {round(f.seconds * 25): f.image for f in decode(path)}
    damage(path, packet)
    lost: list[float] = []
    kept = {round(f.seconds * 25): f.image for f in decode(path, corrupt=lost)}
    missing = [round(t * 25) for t in lost]
    assert len(missing) <= 35  # one group of 30 and the frames that wait to be put in order
    assert sorted([*missing, *kept]) == list(range(100))
    assert all((image == clean[i]).all() for i, image in kept.items())
    later: list[float] = []
    rest = list(decode(path, corrupt=later, start=2.0))
    assert [f.seconds for f in rest] == [i / 25 for i in sorted(kept) if i >= 50]
    assert later == [t for t in lost if t >= 2.0]


def test_a_file_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "walk.mp4", textured(100), flags="faststart")
    path.write_bytes(path.read_bytes()[: packets(path)[40].pos])
    with pytest.raises(VideoError, match=r"walk\.mp4: cannot decode the frame at about 1\.\d\d s"):
        list(decode(path))
    lost: list[float] = []
    assert len(list(decode(path, corrupt=lost))) <= 40
    assert lost[0] < 1.7  # the file holds 40 of 100 packets
    np.testing.assert_allclose(np.diff([*lost, 4.0]), 0.04)  # all to the announced end


def audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def unknown_codec(path: Path) -> None:
    write(path, flat(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))


def header_alone(path: Path) -> None:
    write(path, flat(3), flags="faststart")
    path.write_bytes(path.read_bytes()[: packets(path)[0].pos])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "is a folder"),
        (Path.touch, "the file is empty"),
        (lambda path: path.write_text("no video\n" * 500), "not a readable video"),
        (audio, "no video stream .the file holds audio."),
        (unknown_codec, "no decoder for its codec; re-encode"),
        (header_alone, "holds no frame|cannot decode the frame at about 0.00 s"),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, make, message: str) -> None:
    make(tmp_path / "walk.mp4")
    with pytest.raises(VideoError, match=rf"^\S*walk\.mp4: .*({message})[^\n]*$"):
        probe(tmp_path / "walk.mp4")


def combed(image: np.ndarray) -> float:
    """How much a line differs from the two around it."""
    grey = image[..., 0].astype(float)
    return float(np.abs(2 * grey[1:-1] - grey[:-2] - grey[2:]).mean())


@pytest.mark.parametrize("top_first", [True, False])
def test_interlaced_video_is_not_combed(tmp_path: Path, top_first: bool) -> None:
    path = interlaced(tmp_path / "a.mp4", 60, top_first)
    frames, info = list(decode(path)), probe(path)
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(60) / 25)
    assert max(combed(frame.image) for frame in frames) < 4
    for i, frame in enumerate(frames):  # of one field or the other
        assert min(np.abs(frame.image.astype(int) - bar(2 * i + k)).mean() for k in (0, 1)) < 5
    assert any("interlaced" in doubt for doubt in doubts(info))
    rest = list(decode(path, start=1.6))
    assert [frame.seconds for frame in rest] == [frame.seconds for frame in frames if frame.seconds >= 1.6]
    for one, other in zip(rest, frames[40:], strict=True):
        assert (one.image == other.image).all()


def test_a_filter_keeps_colours_and_rotation(tmp_path: Path) -> None:
    """What is not interlaced comes out of the filter as it went in."""
    path = write(tmp_path / "a.mp4", [MARKED] * 5, rotation=90)
    with opened(path) as (container, stream):
        for _, frame in timed_frames(container, stream, refusal(path)):
            graph = _graph_like(frame)
            graph.push(frame)
            graph.push(None)
            (made,) = _ready(graph)
            names = ("rotation", "colorspace", "color_range", "color_primaries", "color_trc", "format.name")
            assert [attrgetter(name)(made) for name in names] == [attrgetter(name)(frame) for name in names]
            assert (made.to_ndarray() == frame.to_ndarray()).all()


@pytest.mark.parametrize("before", [0, 1, 5])
def test_frames_before_the_first_interlaced_one_are_not_touched(tmp_path: Path, before: int) -> None:
    paths = write(tmp_path / "a.mp4", flat(10)), interlaced(tmp_path / "b.mp4", 10)
    with opened(paths[0]) as first, opened(paths[1]) as second:
        whole = list(islice(timed_frames(*first, refusal(paths[0])), before))
        mixed = [*whole, *((t + 1, frame) for t, frame in timed_frames(*second, refusal(paths[1])))]
        made = list(whole_pictures(iter(mixed)))
    assert [t for t, _ in made] == [t for t, _ in mixed]
    assert all(one[1] is other[1] for one, other in zip(made, whole, strict=False))
    assert max(combed(frame.to_ndarray(format="rgb24")) for _, frame in made) < 4


def test_joined_recordings_last_as_long_as_both(tmp_path: Path) -> None:
    """`cat a.ts a.ts`: the clock starts again in the middle."""
    part = write(tmp_path / "a.ts", flat(50), 10).read_bytes()
    path = tmp_path / "b.ts"
    path.write_bytes(part + part)
    frames, info = list(decode(path)), probe(path)
    assert len(frames) == info.num_frames == 100
    assert frames[-1].seconds == pytest.approx(9.9, abs=0.01)
    assert (info.seconds, info.fps) == (pytest.approx(10, abs=0.01), pytest.approx(10, abs=0.01))
