"""Which frames make a clip, and that what a step sees depends on the seed and the step alone."""

import sys
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from longtake.datasets.clips import Clips, clip_generator
from longtake.datasets.frame_store import FrameStore
from longtake.datasets.frames import StoreSpec, build
from longtake.datasets.packets import VideoError
from longtake.datasets.sampler import StepSampler


class Times(FrameStore):
    """A store of which only the times exist. A take is given by its video and the times of its frames."""

    def __init__(self, *takes: tuple[int, Sequence[float] | np.ndarray]) -> None:
        self.path = Path("times")
        self.seconds = np.concatenate([np.asarray(times, float) for _, times in takes])
        self.video = np.concatenate([np.full(len(times), video, np.int32) for video, times in takes])
        self.shot = np.concatenate([np.full(len(times), shot, np.int32) for shot, (_, times) in enumerate(takes)])
        self.blank = np.zeros(len(self.seconds), bool)
        self.info = {"sources": [{"name": f"{video}.mp4"} for video in sorted({video for video, _ in takes})]}


def views(frames: torch.Tensor, generator: torch.Generator) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """One random pixel of every frame."""
    row, column = (int(torch.randint(32, (), generator=generator)) for _ in range(2))
    return [frames[:, :, row : row + 1, column : column + 1].float()], []


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    paths = []
    for name, num_frames in (("a.mp4", 60), ("b.mp4", 40)):
        paths.append(tmp_path / name)
        with av.open(str(paths[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=20, options={"preset": "ultrafast"})
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
            for i in range(num_frames):
                noise = np.random.default_rng(i).integers(0, 256, (4, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
            container.mux(stream.encode(None))
    return build(paths, StoreSpec(), tmp_path / "stores", progress=False)


def admissible_by_definition(store: FrameStore, num_frames: int, stride_seconds: float) -> list[int]:
    starts = []
    for start in range(len(store)):
        take = [
            i for i in range(len(store)) if (store.video[i], store.shot[i]) == (store.video[start], store.shot[start])
        ]
        times = store.seconds[take]
        interval = np.median(np.diff(times)) if len(take) > 1 else 0
        targets = [store.seconds[start] + n * stride_seconds for n in range(num_frames)]
        nearest = [int(np.abs(times - target).round(7).argmin()) for target in targets]
        close = all(
            abs(times[i] - target) <= 0.75 * interval + 1e-6 for i, target in zip(nearest, targets, strict=True)
        )
        if close and len(set(nearest)) == num_frames:
            starts.append(start)
    return starts


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.lists(st.sampled_from([1, 2, 2, 2, 2, 3, 9]), min_size=12, max_size=40), min_size=1, max_size=4),
    num_frames=st.integers(1, 4),
    stride=st.sampled_from([4, 5, 6]),
)
def test_starts_are_the_admissible_frames(gaps: list[list[int]], num_frames: int, stride: int) -> None:
    store = Times(*((0, np.cumsum(take) / 20) for take in gaps))
    expected = admissible_by_definition(store, num_frames, stride / 20)
    if not expected:
        with pytest.raises(VideoError):
            Clips(store, num_frames, stride / 20)
        return
    clips = Clips(store, num_frames, stride / 20)
    assert clips.starts.tolist() == expected
    for start in expected:
        frames = clips.frames_of(start)
        assert frames[0] == start
        assert len({(store.video[i], store.shot[i]) for i in frames}) == 1
        assert (np.diff(frames) > 0).all()


def test_frames_lie_a_stride_apart() -> None:
    times = np.arange(900) * 1001 / 30000  # 29.97 frames per second
    clips = Clips(Times((0, times)), 8, 1.0)
    assert len(clips) == 900 - 210  # seven seconds are 209.8 frames
    for start in clips.starts:
        expected = times[start] + np.arange(8)
        np.testing.assert_allclose(times[clips.frames_of(start)], expected, atol=0.5 * 1001 / 30000)


def test_no_clip_leaves_its_video_its_shot_or_crosses_a_gap() -> None:
    regular = np.arange(300) / 25
    with_a_gap = np.delete(regular, np.arange(100, 150))  # two seconds are missing
    store = Times((0, regular[:150]), (0, regular[150:]), (1, with_a_gap), (2, regular))
    clips = Clips(store, 4, 0.5, clips_per_epoch=10_000)
    drawn = np.stack([clips.frames_of(start) for start in clips.epoch_starts(3)])
    assert len(np.unique(drawn[:, 0])) > 600
    for what in (store.video, store.shot):
        assert (what[drawn] == what[drawn[:, :1]]).all()
    np.testing.assert_allclose(np.diff(store.seconds[drawn]), 0.5, atol=0.03 + 0.01)  # 0.5 s are 12.5 frames


def test_with_one_frame_every_frame_is_a_clip() -> None:
    store = Times((0, [0.0, 0.1, 5.0]), (1, [0.0]))
    assert Clips(store, 1, 1.0).starts.tolist() == [0, 1, 2, 3]


def test_an_epoch_draws_without_replacement() -> None:
    store = Times((0, np.arange(50) / 10))
    everything = list(range(50))
    some, all_of, more = (Clips(store, 1, 1.0, num) for num in (20, None, 120))
    assert (len(some), len(all_of), len(more)) == (20, 50, 120)
    for epoch in range(5):
        assert len(set(some.epoch_starts(epoch))) == 20
        assert sorted(all_of.epoch_starts(epoch)) == everything
        starts = more.epoch_starts(epoch)
        assert sorted(starts[:50]) == sorted(starts[50:100]) == everything
        assert len(set(starts[100:])) == 20
    assert some.epoch_starts(0).tolist() != some.epoch_starts(1).tolist()
    assert some.epoch_starts(0).tolist() != Clips(store, 1, 1.0, 20, seed=1).epoch_starts(0).tolist()


def test_starts_are_drawn_uniformly() -> None:
    clips = Clips(Times((0, np.arange(50) / 10)), 1, 1.0, clips_per_epoch=10)
    counts = np.bincount(np.concatenate([clips.epoch_starts(epoch) for epoch in range(2000)]), minlength=50)
    # mean 400, standard deviation sqrt(2000 * 0.2 * 0.8) = 17.9; 5 of them on either side
    assert counts.min() > 310
    assert counts.max() < 490


def test_a_video_without_a_clip_is_named() -> None:
    long, short = (0, np.arange(250) / 25), (1, np.arange(168) / 25)
    with pytest.raises(
        VideoError, match=r"1\.mp4: 6\.7 s of frames, but one clip of 8 frames lasts 7\.0 s; use a longer"
    ):
        Clips(Times(long, short), 8, 1.0)
    with pytest.raises(VideoError, match=r"stored frames are 0\.040 s apart, but stride_seconds is 0\.02; keep more"):
        Clips(Times(long), 2, 0.02)
    with pytest.raises(VideoError, match=r"without a cut or a gap"):
        Clips(Times((0, [*np.arange(20) / 25, *(9 + np.arange(20) / 25)])), 4, 1.0)


def test_generators_differ_between_clips_and_repeat() -> None:
    clips = [(seed, epoch, slot) for seed in range(9) for epoch in range(9) for slot in range(99)]
    assert len({torch.randint(2**62, (), generator=clip_generator(*clip)).item() for clip in clips}) == 9 * 9 * 99
    assert torch.equal(*(torch.randn(5, generator=clip_generator(3, 2, 1)) for _ in range(2)))


def test_a_clip_is_its_frames(store: FrameStore) -> None:
    clips = Clips(store, 3, 0.5, seed=4)
    assert len(clips) == (60 - 20) + (40 - 20)
    clip = clips[2 * len(clips) + 7]
    assert clip.index == 2 * len(clips) + 7
    assert torch.equal(clip.frames, store.read(clips.frames_of(clips.epoch_starts(2)[7])))
    assert clip.generator.get_state().equal(clip_generator(4, 2, 7).get_state())


def batches(clips: Clips, sampler: StepSampler, **options: object) -> list[tuple[list[int], torch.Tensor]]:
    def collate(samples: list) -> tuple[list[int], torch.Tensor]:
        return [index for _, index in samples], torch.stack([globals_[0] for (globals_, _), index in samples])

    return list(DataLoader(clips, batch_sampler=sampler, collate_fn=collate, **options))  # type: ignore[arg-type]


def test_any_number_of_workers_and_ranks_sees_the_same(store: FrameStore) -> None:
    clips = Clips(store, 2, 0.5, clips_per_epoch=26, seed=1, views=views)
    alone = batches(clips, StepSampler(26, 8, num_steps=7))
    parallel = batches(clips, StepSampler(26, 8, num_steps=7), num_workers=2, multiprocessing_context="fork")
    ranks = [batches(clips, StepSampler(26, 4, num_steps=7, rank=rank, world_size=2)) for rank in range(2)]
    joined = [(a[0] + b[0], torch.cat([a[1], b[1]])) for a, b in zip(*ranks, strict=True)]
    for others in (parallel, joined):
        for (ids, pixels), (other_ids, other_pixels) in zip(alone, others, strict=True):
            assert ids == other_ids
            assert torch.equal(pixels, other_pixels)
    assert len({pixels.sum().item() for _, pixels in alone}) == 7


@given(
    clips_per_epoch=st.integers(12, 60),
    num_steps=st.integers(1, 20),
    first=st.integers(0, 20),
    world=st.sampled_from([1, 2, 3, 6]),
)
def test_steps(clips_per_epoch: int, num_steps: int, first: int, world: int) -> None:
    def steps(first_step: int, world_size: int) -> list[list[int]]:
        ranks = [
            StepSampler(clips_per_epoch, 12 // world_size, num_steps, first_step, rank, world_size)
            for rank in range(world_size)
        ]
        assert {len(sampler) for sampler in ranks} == {num_steps}
        return [list(chain(*shares)) for shares in zip(*ranks, strict=True)]

    whole = steps(0, 1)
    per_epoch = clips_per_epoch // 12
    expected = [  # written out: whole batches of every epoch, one after the other
        [epoch * clips_per_epoch + batch * 12 + i for i in range(12)]
        for epoch in range(21)
        for batch in range(per_epoch)
    ]
    assert whole == expected[:num_steps]
    assert steps(0, world) == whole
    assert steps(first, world) == whole[first:]


def test_an_epoch_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an epoch of 10 clips has no batch of 16; use a smaller batch_size"):
        StepSampler(10, 8, num_steps=1, world_size=2)


def test_a_spawned_worker_reads_too(store: FrameStore) -> None:
    clips = Clips(store, 2, 0.5, clips_per_epoch=8)
    loader = DataLoader(clips, batch_size=None, sampler=[3, 70], num_workers=1, multiprocessing_context="spawn")
    for clip, index in zip(loader, [3, 70], strict=True):
        assert torch.equal(clip.frames, clips[index].frames)
        assert clip.generator.get_state().equal(clips[index].generator.get_state())


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_clips_of_a_batch_keep_their_distance(batch_size: int) -> None:
    store = Times((0, np.arange(400) / 10), (1, np.arange(300) / 10))
    options = {"num_frames": 2, "stride_seconds": 1.0, "seed": 3, "batch_size": batch_size}
    clips = Clips(store, min_gap_seconds=3.0, **options)
    orders = [clips.epoch_starts(epoch) for epoch in range(3)]
    assert all(len(order) == len(clips.starts) for order in orders)
    for order in orders:
        for batch in np.split(order, range(batch_size, len(order), batch_size)):
            for video in (0, 1):
                times = np.sort(store.seconds[[start for start in batch if store.video[start] == video]])
                assert (np.diff(times) >= 3.0).all()
        seen = np.unique(order, return_counts=True)[1]
        assert seen.max() <= 2  # what waits at the end of an epoch makes room for a start of the next permutation
        assert len(seen) > 0.95 * len(clips.starts)
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(Clips(store, min_gap_seconds=3.0, **options).epoch_starts(1), orders[1])


def test_a_gap_without_room_is_refused() -> None:
    store = Times((0, np.arange(100) / 10))
    with pytest.raises(VideoError, match=r"min_gap_seconds=2 with batches of 5 clips: the videos have room for 3"):
        Clips(store, num_frames=1, stride_seconds=1.0, min_gap_seconds=2.0, batch_size=5)
    gappy = Times((0, [0.0, 0.1, 20.0]))
    with pytest.raises(VideoError, match="room for 2"):
        Clips(gappy, num_frames=1, stride_seconds=1.0, min_gap_seconds=2.0, batch_size=5).epoch_starts(0)


def test_only_long_enough_videos_of_a_collection_are_used() -> None:
    store = Times((0, np.arange(30) / 10), (1, np.arange(5) / 10))
    clips = Clips(store, num_frames=3, stride_seconds=1.0, skip_short=True)
    assert (store.video[clips.starts] == 0).all()
    with pytest.raises(VideoError, match=r"1\.mp4"):
        Clips(store, num_frames=3, stride_seconds=1.0)
    with pytest.raises(VideoError, match=r"0\.mp4"):
        Clips(store, num_frames=9, stride_seconds=1.0, skip_short=True)


def ids_of(loader: DataLoader) -> list[int]:
    return [clip.index for batch in loader for clip in batch]


@pytest.mark.parametrize("workers", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_plain_loader_sees_the_epoch_that_is_set(store: FrameStore, workers: dict, start: str) -> None:
    """Also workers that were there before it was set; the clips are those of the same ids, bit for bit."""
    clips = Clips(store, 2, 0.5, clips_per_epoch=8, seed=1)
    context = {"multiprocessing_context": start} if workers else {}
    loader = DataLoader(clips, batch_size=3, collate_fn=list, **workers, **context)
    assert ids_of(loader) == list(range(8))
    for epoch in (1, 5):
        clips.set_epoch(epoch)
        assert ids_of(loader) == list(range(8 * epoch, 8 * epoch + 8))
    third = clips[2]
    clips.set_epoch(0)
    same = clips[42]
    assert third.index == same.index == 42
    assert torch.equal(third.frames, same.frames)
    assert third.generator.get_state().equal(same.generator.get_state())
    with pytest.raises(ValueError, match="epoch: got -1, expected 0 or more"):
        clips.set_epoch(-1)


def test_an_epoch_that_is_given_again_is_said_once(store: FrameStore, recwarn: pytest.WarningsRecorder) -> None:
    clips = Clips(store, 2, 0.5, clips_per_epoch=8)
    loader = DataLoader(clips, batch_size=4, collate_fn=list)
    ids_of(loader)
    clips.set_epoch(1)
    ids_of(loader)
    assert clips[0].index == clips[0].index == 8  # who asks for one clip may ask again
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"epoch 1 .*set_epoch"):
        ids_of(loader)
    recwarn.clear()
    ids_of(loader)
    assert not recwarn.list


def test_workers_say_so_too(
    store: FrameStore, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New ones each time: what one of them has given, the next one knows."""
    monkeypatch.setattr(warnings, "showwarning", lambda words, *_: print(words, file=sys.stderr))  # pytest's keeps them
    clips = Clips(store, 2, 0.5, clips_per_epoch=8)
    loader = DataLoader(clips, batch_size=4, collate_fn=list, num_workers=2, multiprocessing_context="fork")
    ids_of(loader)
    assert "set_epoch" not in capfd.readouterr().err
    ids_of(loader)
    ids_of(loader)
    assert capfd.readouterr().err.count("Clips.set_epoch(epoch)") == 1


def test_without_shared_memory_one_process_still_trains(store: FrameStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to write to file </torch_1>: No space left on device")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    clips = Clips(store, 2, 0.5, clips_per_epoch=8)
    clips.set_epoch(3)
    assert clips[1].index == 25
