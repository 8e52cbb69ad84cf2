"""Training SeqTrack (https://arxiv.org/abs/2304.14394) on an encoder; stopped anywhere, it continues exactly.

As in its code: AdamW, the rate of the encoder (where it is trained) a tenth of the decoder's, one drop of both, clipped gradients.
"""

import csv
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader

from longtake.backbones.vit import ViT
from longtake.backbones.weights import weights_hash
from longtake.downstream.features import progress_bar
from longtake.downstream.seqtrack_model import SeqTrackDecoder, joint_tokens, sequence_loss
from longtake.downstream.seqtrack_samples import Recipe, Sample, Samples
from longtake.downstream.seqtrack_tokens import sequences

RATE_DROP = 0.1  # of both rates at `drop_epoch`: lib/config/seqtrack/config.py


class Training:
    """An encoder, a decoder and their optimiser; `run` goes on from `checkpoint`, if that is of the same training."""

    def __init__(self, encoder: ViT, recipe: Recipe, device: str) -> None:
        self.recipe, self.device, self.encoder = recipe, device, encoder.to(device)
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)
            num_patches = (recipe.search_size // encoder.patch_size) ** 2
            self.decoder = SeqTrackDecoder(encoder.embed_dim, num_patches, recipe.bins, recipe.position_values).to(device)
        groups: list[dict[str, Any]] = [{"params": list(self.decoder.parameters()), "scale": 1.0}]
        if not recipe.freeze:
            groups.append({"params": list(encoder.parameters()), "scale": recipe.encoder_lr_scale})
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.losses: list[float] = []

    @property
    def step(self) -> int:
        return len(self.losses)

    def run(
        self, data: Samples, checkpoint: Path, save_every: int, num_workers: int = 0, progress: bool = True
    ) -> None:
        """Train to the end and leave `checkpoint` behind; it is written every `save_every` steps, whole or not at all."""
        identity = self._identity(data)
        self._resume(checkpoint, identity)
        micro = self.recipe.micro_batch_size or self.recipe.batch_size
        batches = Batches(self.step, self.recipe.steps, self.recipe.batch_size, micro)
        loader = iter(DataLoader(data, batch_sampler=batches, num_workers=num_workers, pin_memory=self.device != "cpu"))
        with progress_bar(progress) as bar:
            task = bar.add_task("SeqTrack: training", total=self.recipe.steps, completed=self.step)
            while self.step < self.recipe.steps:
                self.losses.append(self._step(loader))
                if self.step % save_every == 0 or self.step == self.recipe.steps:
                    self._save(checkpoint, identity)
                bar.advance(task)
        write_losses(self.losses, checkpoint.with_name("seqtrack_loss.csv"))

    def _step(self, samples: Iterator[Sample]) -> float:
        """One update; what is dropped depends on (seed, step) alone."""
        rate = self.recipe.lr * (
            RATE_DROP if self.step // self.recipe.steps_per_epoch >= self.recipe.drop_epoch else 1.0
        )
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.decoder.train()
        self.encoder.train(not self.recipe.freeze)
        done, total = 0, 0.0
        with torch.random.fork_rng():
            torch.manual_seed(int(np.random.SeedSequence((self.recipe.seed, self.step)).generate_state(1)[0]))
            while done < self.recipe.batch_size:
                sample = Sample(*(part.to(self.device, non_blocking=True) for part in next(samples)))
                loss = self._loss(sample) * (len(sample.box) / self.recipe.batch_size)
                loss.backward()
                done, total = done + len(sample.box), total + loss.item()
        if not np.isfinite(total):
            raise ValueError(
                f"SeqTrack: the loss of step {self.step} is {total}; expected a finite one, try a smaller lr"
            )
        nn.utils.clip_grad_norm_(trained, self.recipe.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    def _loss(self, sample: Sample) -> Float[Tensor, ""]:
        fed, target = sequences(sample.box, self.recipe.bins)
        with torch.set_grad_enabled(not self.recipe.freeze):
            tokens = joint_tokens(self.encoder, sample.search, sample.templates.unbind(1), self.recipe.pos_mode)
        return sequence_loss(self.decoder(tokens, fed), target)

    def _identity(self, data: Samples) -> str:
        """What must agree for a checkpoint to be continued: recipe, the encoder it began with, sequences."""
        names = [(track.name, track.num_frames) for track in data.tracks]
        recipe = {field.name: getattr(self.recipe, field.name) for field in dataclasses.fields(Recipe)}
        facts = [recipe, weights_hash(self.encoder), names]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _modules(self) -> dict[str, nn.Module]:
        return {"decoder": self.decoder} | ({} if self.recipe.freeze else {"encoder": self.encoder})

    def _save(self, path: Path, identity: str) -> None:
        weights = {name: module.state_dict() for name, module in self._modules().items()}
        state = {"identity": identity, "losses": self.losses, "optimizer": self.optimizer.state_dict(), **weights}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, path)

    def _resume(self, path: Path, identity: str) -> None:
        if path.is_file():
            state = torch.load(path, map_location="cpu", weights_only=True)
            if state["identity"] == identity:
                for name, module in self._modules().items():
                    module.load_state_dict(state[name])
                self.optimizer.load_state_dict(state["optimizer"])
                self.losses = state["losses"]


class Batches:
    """Numbers of the samples of every micro-batch from step `first` to `last`; no micro-batch is of two steps."""

    def __init__(self, first: int, last: int, batch_size: int, micro_batch_size: int) -> None:
        self.steps, self.batch_size, self.micro_batch_size = range(first, last), batch_size, micro_batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for start in range(0, self.batch_size, self.micro_batch_size):
                stop = min(start + self.micro_batch_size, self.batch_size)
                yield list(range(step * self.batch_size + start, step * self.batch_size + stop))

    def __len__(self) -> int:
        return len(self.steps) * -(-self.batch_size // self.micro_batch_size)


def write_losses(losses: Sequence[float], path: Path) -> None:
    """The loss of every step."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("step", "loss"), *enumerate(losses)])
