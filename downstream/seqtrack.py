"""SeqTrack on GOT-10k: a decoder trained on an encoder's tokens follows an object by writing its box (https://arxiv.org/abs/2304.14394).

The columns mAO, SR0.5 and SR0.75 of https://arxiv.org/abs/2310.08584 (table 4b) are the test server's means over classes. What can
be measured without it, on the validation split, are the toolkit's means over frames (downstream/got10k.py); `submission=true`
also follows the objects of the test split and leaves the archive that the server takes.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from longtake.console import progress_bar
from longtake.datasets.benchmarks import content_of_got10k, missing_got10k, open_got10k
from longtake.datasets.content import Content
from longtake.datasets.got10k import HIDDEN_TRUTH, GOT10k, Track, check_given
from longtake.datasets.roots import Place
from longtake.downstream.base import Downstream, Encoder, frozen, save_outcomes, say_unscored
from longtake.downstream.drawing import at_once
from longtake.downstream.gallery import Gallery, tracks_drawn
from longtake.downstream.got10k import STRICT_SUCCESS, SUCCESS, read_result, score_folder, write_result
from longtake.downstream.got10k_submission import write_submission
from longtake.downstream.seqtrack_model import check_encoder
from longtake.downstream.seqtrack_samples import Samples, SeqTrackRecipe
from longtake.downstream.seqtrack_tracker import SequenceTracker, Tracking
from longtake.downstream.seqtrack_train import Training
from longtake.parallel import agreed, collected, is_first, part_of


@dataclass(kw_only=True)
class SeqTrack(SeqTrackRecipe, Tracking, Downstream, name="seqtrack"):
    """Trains on `train_split` and follows the objects of `split` of a folder in GOT-10k's layout.

    An item is a frame, which counts for the means over frames, or a sequence, which counts for the mean over sequences. An
    interrupted training continues when it is given the same `workdir`. The fields of `SeqTrackRecipe` and `Tracking` belong to it.
    Processes that run together share the batches, and then the sequences.
    """

    metrics: ClassVar[tuple[str, ...]] = ("ao", "sr50", "sr75", "ao_sequences")
    shared: ClassVar[bool] = True

    root: Place
    train_split: str = "train"
    split: str = "val"
    exclude: Sequence[str] = ()  # sequences to leave out, of any split
    submission: bool = False  # also an archive for the test server
    save_every: int = 500  # steps between the training's checkpoints
    num_workers: int = 0
    device: str = "cpu"
    progress: bool = True
    gallery: bool = False

    @property
    def splits(self) -> list[str]:
        hidden = [HIDDEN_TRUTH] if self.submission else []
        return list(dict.fromkeys([self.train_split, self.split, *hidden]))

    def check(self) -> list[str]:
        if HIDDEN_TRUTH in (self.train_split, self.split):
            raise ValueError(
                f"split: got {HIDDEN_TRUTH}, whose boxes only the server knows; expected split=val submission=true"
            )
        self.check_processes(1)
        return [line for split in self.splits for line in missing_got10k(self.root, split, self.exclude)]

    def data(self) -> Content:
        return content_of_got10k(self.root, (self.train_split, self.split), self.exclude)

    def validate(self) -> list[str]:
        return [line for split in self.splits for line in self._open(split).validate(self.progress)]

    def check_encoder(self, encoder: Encoder) -> None:
        check_encoder(encoder, search_size=self.search_size, template_size=self.template_size)

    def check_processes(self, count: int) -> None:
        at_once(self.train_batch_size, self.batch_size, count)

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        vit = check_encoder(encoder, search_size=self.search_size, template_size=self.template_size)
        tracks = {split: self._open(split).tracks() for split in self.splits}  # says what is wrong before the training
        check_given(tracks[self.split] + (tracks[HIDDEN_TRUTH] if self.submission else []))
        say_unscored(
            never_seen(tracks[self.split]), len(tracks[self.split]), "sequences show no object after the first frame"
        )
        samples, results = Samples(tracks[self.train_split], self), workdir / "GOT-10k" / "SeqTrack"
        with frozen(encoder, self.device):
            training = Training(vit if self.freeze else deepcopy(vit), self, self.device, self.data())
            training.run(samples, workdir / "seqtrack.ckpt", self.save_every, self.num_workers, self.progress)
            tracker = SequenceTracker(training.network.encoder, training.network.decoder, self, self, self.device)
            followed = tracks[self.split] + (tracks[HIDDEN_TRUTH] if self.submission else [])
            self._follow(tracker, followed, results)
        overlaps = agreed(self._scored(tracks[self.split], results, workdir) if is_first() else None)
        return save_outcomes(workdir, *outcomes_of(overlaps))

    def _follow(self, tracker: SequenceTracker, tracks: Sequence[Track], results: Path) -> None:
        """Leave the result files of every sequence; each process follows its part of them, and the first one writes."""
        mine = part_of(tracks)
        with progress_bar(self.progress and is_first()) as bar:
            task = bar.add_task("SeqTrack: frames", total=sum(track.num_frames for track in mine))
            followed = list(tracker.follow(mine, lambda: bar.advance(task)))
        for name, boxes, seconds in collected([(found.track.name, found.boxes, found.seconds) for found in followed]):
            if is_first():
                write_result(results, name, boxes, seconds)

    def _scored(self, tracks: Sequence[Track], results: Path, workdir: Path) -> Mapping[str, Float[np.ndarray, "_"]]:
        """The overlap of every frame; leaves the archive and the gallery."""
        if self.submission:
            write_submission(self._open(HIDDEN_TRUTH), results, workdir / "submission.zip")
        self._draw(tracks, results, workdir / "seqtrack.jpg")
        return score_folder(self._open(self.split), results).overlaps

    def _draw(self, tracks: Sequence[Track], results: Path, path: Path) -> None:
        gallery = Gallery(path, self.gallery, len(tracks))
        for track in tracks:
            frames = [track.frame(t) for t in range(track.num_frames)]
            gallery.add(lambda: tracks_drawn(frames, read_result(results, track).tolist(), track.boxes.tolist()))  # noqa: B023
        gallery.save()

    def _open(self, split: str) -> GOT10k:
        return open_got10k(self.root, split, self.exclude, self.progress)


def never_seen(tracks: Sequence[Track]) -> list[str]:
    """Names of the sequences in which no frame counts. Raises `ValueError` where there is no other, before hours of training."""
    names = [track.name for track in tracks if not (track.cover[1:] > 0).any()]
    if len(names) == len(tracks):
        raise ValueError(
            f"{', '.join(names[:3])}: no frame but the first shows its object (cover 0): nothing can be scored"
        )
    return names


def outcomes_of(
    overlaps: Mapping[str, Float[np.ndarray, "_"]],
) -> tuple[list[str], dict[str, Float[np.ndarray, "items"]], list[str]]:
    """Items, what each contributes, and its sequence: first all frames (from 1, as their files), then all sequences.

    A frame that does not count is NaN for all metrics, as is a sequence without one that does.
    """
    together = np.concatenate(list(overlaps.values()))
    counts = ~np.isnan(together)
    means = np.array(
        [values[~np.isnan(values)].mean() if (values >= 0).any() else np.nan for values in overlaps.values()]
    )
    frames, sequences = np.full(len(together), np.nan), np.full(len(overlaps), np.nan)

    def of_frames(values: Float[np.ndarray, "frames"]) -> Float[np.ndarray, "items"]:
        return np.concatenate([np.where(counts, values, np.nan), sequences])

    outcomes = {
        "ao": of_frames(together),
        "sr50": of_frames((together > SUCCESS).astype(np.float64)),
        "sr75": of_frames((together > STRICT_SUCCESS).astype(np.float64)),
        "ao_sequences": np.concatenate([frames, means]),
    }
    names = [f"{name}/{t + 1:08d}" for name, values in overlaps.items() for t in range(len(values))]
    groups = [name for name, values in overlaps.items() for _ in values]
    return [*names, *overlaps], outcomes, [*groups, *overlaps]
