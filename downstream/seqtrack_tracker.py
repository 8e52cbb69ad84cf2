"""Following objects with a trained SeqTrack (https://arxiv.org/abs/2304.14394): a box per frame, from the one before."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from longtake.backbones.vit import ViT
from longtake.datasets.got10k import Track
from longtake.downstream.seqtrack_model import SeqTrackDecoder, joint_tokens
from longtake.downstream.seqtrack_samples import SeqTrackRecipe, read_frame, to_input
from longtake.downstream.seqtrack_tokens import clip_box, hanning, search_crop, tokens_to_box

CONFIDENCE_SCALE = 10  # lib/test/tracker/seqtrack.py: of the summed probabilities before the threshold


@dataclass(kw_only=True)
class Tracking:
    """How to use a trained network; the defaults are SeqTrack's for GOT-10k's test split (it switches updates off on val)."""

    window: bool = True  # Hanning's penalty on the centre
    update_interval: int = 1  # frames after which the last template may be replaced
    update_threshold: float = 0.6  # and the confidence that it takes
    within_level: float = 0.0  # 0.5: a level is its middle, not its lower end; SeqTrack's 4000 levels need no such care
    margin: int = 10  # pixels of a box that stay in the picture
    sequences_at_once: int = 8


class Followed(NamedTuple):
    """The result of tracking one sequence: boxes x, y, w, h, the given one first, and seconds per frame."""

    track: Track
    boxes: Float[np.ndarray, "n 4"]
    seconds: Float[np.ndarray, " n"]


class SequenceTracker:
    """An encoder and a trained decoder; `recipe` is the one they were trained with."""

    def __init__(
        self, encoder: ViT, decoder: SeqTrackDecoder, recipe: SeqTrackRecipe, tracking: Tracking, device: str
    ) -> None:
        self.encoder, self.decoder, self.recipe, self.tracking, self.device = encoder, decoder, recipe, tracking, device
        self.hanning = hanning(recipe.bins).to(device) if tracking.window else None

    def follow(self, tracks: Sequence[Track], advance: Callable[[], object] = lambda: None) -> Iterator[Followed]:
        """Every sequence from its first box; some are followed side by side, independent of one another."""
        self.encoder.eval()
        self.decoder.eval()
        for start in range(0, len(tracks), self.tracking.sequences_at_once):
            yield from self._together(tracks[start : start + self.tracking.sequences_at_once], advance)

    @torch.inference_mode()
    def _together(self, tracks: Sequence[Track], advance: Callable[[], object]) -> list[Followed]:
        states = [_State(track) for track in tracks]
        for t in range(max(track.num_frames for track in tracks)):
            active = [state for state in states if t < state.track.num_frames]
            began = time.perf_counter()
            images = [read_frame(state.track.frame(t)) for state in active]
            if t == 0:
                for state, image in zip(active, images, strict=True):
                    state.templates = [self._template(image, state.boxes[0])] * self.recipe.num_templates
            else:
                self._step(active, images, t)
            for state in active:
                state.seconds.append((time.perf_counter() - began) / len(active))
                advance()
        return [Followed(s.track, np.stack(s.boxes), np.array(s.seconds)) for s in states]

    def _step(self, states: "Sequence[_State]", images: Sequence[UInt8[np.ndarray, "_ _ 3"]], t: int) -> None:
        """Adds a box to each of the sequences, and replaces its last template where the network is sure."""
        recipe, tracking = self.recipe, self.tracking
        crops, factors = zip(
            *(
                search_crop(image, state.boxes[-1], recipe.factor, recipe.search_size)
                for state, image in zip(states, images, strict=True)
            ),
            strict=True,
        )
        search = torch.stack([to_input(crop) for crop in crops]).to(self.device)
        templates = [torch.stack(column) for column in zip(*(state.templates for state in states), strict=True)]
        tokens = joint_tokens(self.encoder, search, templates, recipe.pos_mode)
        words, confidences = self.decoder.generate(tokens, self.hanning)
        sure = (CONFIDENCE_SCALE * confidences.sum(1) > tracking.update_threshold).tolist()
        for i, (state, image) in enumerate(zip(states, images, strict=True)):
            box = tokens_to_box(
                words[i].cpu(), state.boxes[-1], factors[i], recipe.search_size, recipe.bins, tracking.within_level
            )
            state.boxes.append(clip_box(box, (image.shape[0], image.shape[1]), tracking.margin))
            if recipe.num_templates > 1 and sure[i] and t % tracking.update_interval == 0:
                state.templates = [state.templates[0], *state.templates[2:], self._template(image, state.boxes[-1])]

    def _template(self, image: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, "4"]) -> Float[Tensor, "3 side side"]:
        return to_input(search_crop(image, box, self.recipe.factor, self.recipe.template_size)[0]).to(self.device)


class _State:
    """The state of one sequence: boxes so far, seconds, templates (the first frame's, then the latest)."""

    def __init__(self, track: Track) -> None:
        self.track, self.boxes, self.seconds = track, [track.boxes[0]], list[float]()
        self.templates: list[Tensor] = []
