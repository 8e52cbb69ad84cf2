"""SeqTrack's training: what a sample is, and that a training killed anywhere ends as one that was not."""

import multiprocessing
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from chaos import at_most
from seqtrack_runs import RECIPE, main, moving, training
from torch import nn

from longtake.backbones.vit import ViT
from longtake.datasets.got10k import GOT10k
from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD, UnreadableImage
from longtake.downstream.seqtrack_samples import Samples, draw_frames, jittered
from longtake.downstream.seqtrack_train import Training


@pytest.fixture(scope="module")
def got(tmp_path_factory: pytest.TempPathFactory) -> GOT10k:
    return moving(tmp_path_factory.mktemp("got"), "train", 3)


def colours(x: torch.Tensor) -> np.ndarray:
    """Back to levels."""
    return ((x.permute(1, 2, 0).numpy() * IMAGENET_STD + IMAGENET_MEAN) * 255).round()


def test_the_box_of_a_sample_is_around_its_object(got: GOT10k) -> None:
    data = Samples(got.tracks(), replace(RECIPE, brightness=0.0, grey=0.0, search_size=64))
    seen = 0
    for number in range(60):
        sample = data[number]
        assert sample.search.shape == (3, 64, 64)
        assert sample.templates.shape == (2, 3, 32, 32)
        red = colours(sample.search)[..., 0] > 150
        x, y, w, h = (sample.box.numpy() * 63).tolist()
        if x > 1 and y > 1 and x + w < 62 and y + h < 62:
            rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
            found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            np.testing.assert_allclose(found, (x, y, x + w, y + h), atol=2.5)
            seen += 1
        for template in sample.templates:  # the object is in the middle: a quarter of the side
            assert colours(template)[16, 16, 0] > 150
    assert seen > 20


def test_samples_depend_on_seed_and_number_alone(got: GOT10k) -> None:
    data, again = Samples(got.tracks(), RECIPE), Samples(got.tracks(), RECIPE)
    again[5]
    for first, second in zip(data[7], again[7], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(data[7].search, data[8].search)
    assert not torch.equal(data[7].search, Samples(got.tracks(), replace(RECIPE, seed=1))[7].search)


def test_grey_flips_and_brightness(got: GOT10k) -> None:
    plain = replace(RECIPE, grey=0.0, flip=0.0, flip_each=0.0, brightness=0.0, num_templates=1)
    first = Samples(got.tracks(), plain)[3]
    mirrored = Samples(got.tracks(), replace(plain, flip_each=1.0))[3]
    torch.testing.assert_close(mirrored.search, first.search.flip(-1))
    assert mirrored.box.tolist() == pytest.approx([1 - float(first.box[0] + first.box[2]), *first.box[1:].tolist()])
    grey = colours(Samples(got.tracks(), replace(plain, grey=1.0))[3].search)
    assert np.ptp(grey, axis=-1).max() == 0
    both = Samples(got.tracks(), replace(plain, flip=1.0))[3]
    assert not torch.equal(both.search, first.search)
    assert both.box[2:].tolist() == pytest.approx(first.box[2:].tolist())
    bright = colours(Samples(got.tracks(), replace(plain, brightness=0.9))[3].search)
    ratio = bright.mean() / colours(first.search).mean()
    assert 0.1 <= ratio <= 1.9
    assert abs(ratio - 1) > 0.01


def test_frames_are_near_and_in_order() -> None:
    visible = np.concatenate([np.arange(50), np.arange(200, 260)])
    drawn = [draw_frames(visible, 3, 30, np.random.default_rng(i)) for i in range(300)]
    assert all(np.ptp(frames) <= 60 and set(frames) <= set(visible) for frames in drawn)
    rising, falling = ((sign * np.diff(np.array(drawn)) >= 0).all(1).mean() for sign in (1, -1))
    assert rising + falling >= 1
    assert 0.4 < rising < 0.65
    assert {int(frames[0]) for frames in drawn if frames[0] > 100}, "both parts are drawn"


def test_jitter_keeps_the_centre_within_the_crop() -> None:
    box = np.array([100.0, 50, 20, 45])
    boxes = np.stack([jittered(box, 3.5, 0.5, np.random.default_rng(i)) for i in range(2000)])
    offsets = (boxes[:, :2] + boxes[:, 2:] / 2 - (box[:2] + box[2:] / 2)) / np.sqrt(boxes[:, 2:].prod(1))[:, None]
    assert abs(offsets).max() <= 1.75
    assert offsets.std(0) == pytest.approx(3.5 / 12**0.5, rel=0.05)
    logs = np.log(boxes[:, 2:] / box[2:])
    assert logs.mean(0) == pytest.approx(0, abs=0.05)
    assert logs.std(0) == pytest.approx(0.5, rel=0.05)


def test_sequences_that_are_too_short_are_named(got: GOT10k) -> None:
    with pytest.raises(ValueError, match="3 training sequences, none with 99 frames"):
        Samples(got.tracks(), replace(RECIPE, min_frames=99))


def test_an_unreadable_frame_is_named(tmp_path: Path) -> None:
    data = Samples(moving(tmp_path, "train", 1).tracks(), RECIPE)
    for path in (tmp_path / "train").rglob("0000000?.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(UnreadableImage, match=r"cannot read the image .*0000000\d\.jpg"):
        [data[number] for number in range(50)]


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def killed(root: Path, folder: Path) -> None:
    at_most()
    main(root, folder, 5)


def test_a_killed_training_ends_as_one_that_was_not(got: GOT10k, tmp_path: Path) -> None:
    whole = training(got, tmp_path / "whole")
    process = multiprocessing.get_context("fork").Process(target=killed, args=(got.root, tmp_path / "killed"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["seqtrack.ckpt"]
    continued = main(got.root, tmp_path / "killed")
    assert continued.losses == whole.losses
    assert torch.equal(weights(continued.network), weights(whole.network))
    lines = (tmp_path / "killed" / "seqtrack_loss.csv").read_text().splitlines()
    assert lines[0] == "step,loss"
    assert len(lines) == 1 + RECIPE.steps


def test_a_finished_training_is_not_repeated_and_another_one_is(got: GOT10k, tmp_path: Path) -> None:
    first = training(got, tmp_path)
    stamp = (tmp_path / "seqtrack.ckpt").stat().st_mtime_ns
    assert training(got, tmp_path).losses == first.losses
    assert (tmp_path / "seqtrack.ckpt").stat().st_mtime_ns == stamp
    assert training(got, tmp_path, batch_size=2).losses == first.losses, "what fits into memory is no other recipe"
    other = training(got, tmp_path, lr=3e-3)
    assert other.losses[0] == first.losses[0]
    assert other.losses[-1] != first.losses[-1]


def test_micro_batches_sum_up_to_the_batch(got: GOT10k, tmp_path: Path) -> None:
    """Without dropout the gradient is that of the batch."""
    found = []
    for name, micro in (("whole", None), ("parts", 2)):
        run = Training(fresh(), replace(RECIPE, batch_size=micro, epochs=1, samples_per_epoch=8), "cpu")
        for module in run.network.decoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(module, nn.MultiheadAttention):
                module.dropout = 0.0
        run.run(Samples(got.tracks(), RECIPE), tmp_path / name / "seqtrack.ckpt", 100, progress=False)
        found.append((run.losses, weights(run.network.decoder)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], atol=2e-5, rtol=1e-4)


def fresh() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 32)


def test_a_frozen_encoder_stays_and_a_tuned_one_moves_slowly(got: GOT10k, tmp_path: Path) -> None:
    for freeze in (True, False):
        encoder = fresh()
        before = weights(encoder)
        run = Training(encoder, replace(RECIPE, freeze=freeze, weight_decay=0.0, epochs=1), "cpu")
        start = weights(run.network.decoder)
        run.run(Samples(got.tracks(), RECIPE), tmp_path / str(freeze) / "seqtrack.ckpt", 100, progress=False)
        assert encoder.training == (not freeze)
        moved = (weights(encoder) - before).abs().max()
        if freeze:
            assert moved == 0
        else:  # Adam's first steps are as long as the rate
            assert 0 < moved <= 0.1 * (weights(run.network.decoder) - start).abs().max() * 1.2


def test_a_batch_that_is_not_made_of_whole_passes_is_refused(got: GOT10k, tmp_path: Path) -> None:
    run = Training(fresh(), replace(RECIPE, batch_size=5), "cpu")
    with pytest.raises(ValueError, match="train_batch_size=8: expected a multiple of batch_size=5 times 1 process"):
        run.run(Samples(got.tracks(), RECIPE), tmp_path / "seqtrack.ckpt", 100, progress=False)


def test_the_rate_drops_once(got: GOT10k, tmp_path: Path) -> None:
    run = Training(fresh(), replace(RECIPE, epochs=3, drop_epoch=2), "cpu")
    rates = []
    step = run.optimizer.step
    run.optimizer.step = lambda *a: (rates.append(run.optimizer.param_groups[0]["lr"]), step(*a))[1]  # type: ignore
    run.run(Samples(got.tracks(), RECIPE), tmp_path / "seqtrack.ckpt", 100, progress=False)
    assert rates == pytest.approx([1e-3] * 4 + [1e-4] * 2)


def test_a_loss_that_is_not_finite_stops_with_the_step(got: GOT10k, tmp_path: Path) -> None:
    run = Training(fresh(), RECIPE, "cpu")
    nn.init.constant_(run.network.decoder.bottleneck.weight, float("nan"))
    with pytest.raises(FloatingPointError, match=r"iteration 0: the loss is not finite \(sequence nan\); a smaller lr"):
        run.run(Samples(got.tracks(), RECIPE), tmp_path / "seqtrack.ckpt", 100, progress=False)


def test_opencv_reads_what_was_written(got: GOT10k) -> None:
    assert cv2.imread(str(got.tracks()[0].frame(0))).shape == (96, 128, 3)
