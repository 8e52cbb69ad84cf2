"""Training SeqTrack (https://arxiv.org/abs/2304.14394) on an encoder, by the common loop (downstream/tuning.py).

As in its code: AdamW, the rate of the encoder (where it is trained) a tenth of the decoder's, one drop of both, clipped gradients.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from longtake.backbones.vit import ViT
from longtake.datasets.content import Content
from longtake.downstream.drawing import Budget, at_once, batches, seeded
from longtake.downstream.seqtrack_model import SeqTrackDecoder, joint_tokens, sequence_loss
from longtake.downstream.seqtrack_samples import Sample, Samples, SeqTrackRecipe
from longtake.downstream.seqtrack_tokens import sequences
from longtake.downstream.state import identity_of
from longtake.downstream.tuning import Passes, Tuning, steps
from longtake.parallel import world_size

RATE_DROP = 0.1  # of both rates at `drop_epoch`: lib/config/seqtrack/config.py


class Network(nn.Module):
    """Decoder and encoder. A frozen encoder is no part of the module: neither trained nor saved, and always in eval mode."""

    encoder: ViT

    def __init__(self, encoder: ViT, recipe: SeqTrackRecipe) -> None:
        super().__init__()
        self.bins, self.pos_mode, self.freeze = recipe.bins, recipe.pos_mode, recipe.freeze
        with seeded(recipe.seed):
            num_patches = (recipe.search_size // encoder.patch_size) ** 2
            self.decoder = SeqTrackDecoder(
                encoder.embed_dim, num_patches, recipe.bins, recipe.position_values, recipe.hidden_dim
            )
        if recipe.freeze:
            object.__setattr__(self, "encoder", encoder.eval())
        else:
            self.encoder = encoder

    def forward(self, sample: Sample) -> Float[Tensor, ""]:
        """The loss of a batch."""
        fed, target = sequences(sample.box, self.bins)
        with torch.set_grad_enabled(not self.freeze):
            tokens = joint_tokens(self.encoder, sample.search, sample.templates.unbind(1), self.pos_mode)
        return sequence_loss(self.decoder(tokens, fed), target)


class Training:
    """A network and its optimiser; `run` goes on from `checkpoint`, if that is of the same training on the same data."""

    def __init__(self, encoder: ViT, recipe: SeqTrackRecipe, device: str, content: Content | None = None) -> None:
        self.recipe, self.device, self.content = recipe, device, content
        self.network = Network(encoder.to(device), recipe).to(device)
        groups: list[dict[str, Any]] = [{"params": list(self.network.decoder.parameters())}]
        if not recipe.freeze:
            groups.append({"params": list(encoder.parameters()), "lr": recipe.lr * recipe.encoder_lr_scale})
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.losses: list[float] = []

    def run(
        self, data: Samples, checkpoint: Path, save_every: int, num_workers: int = 0, progress: bool = True
    ) -> None:
        """Train to the end and leave `checkpoint` behind, which is written every `save_every` steps.

        Processes that run together share the batches. Raises `FloatingPointError` for a loss that is not finite, `ValueError`
        for a batch that is not a multiple of what the processes compute at once.
        """
        recipe, budget = self.recipe, budget_of(self.recipe, save_every)
        factor = steps([recipe.drop_epoch * recipe.steps_per_epoch], 0, RATE_DROP)
        identity = self._identity(data)
        tuning = Tuning(self.network, self.optimizer, factor, checkpoint, identity, clip_grad=recipe.clip_norm)
        self.losses = tuning.losses
        on_gpu = torch.device(self.device).type == "cuda"
        samples = batches(data, budget, recipe.seed, tuning.done, num_workers=num_workers, pin_memory=on_gpu)
        passes = Passes(self.network, self._loss, samples, budget, recipe.seed)
        tuning.run(passes, budget.iterations, budget.save_due, "SeqTrack", progress)

    def _loss(self, network: nn.Module, sample: Sample) -> dict[str, Tensor]:
        return {"sequence": network(Sample(*(part.to(self.device, non_blocking=True) for part in sample)))}

    def _identity(self, data: Samples) -> str:
        """Return what must agree for a checkpoint to be continued: recipe, the encoder it began with, sequences."""
        names = [(track.name, track.num_frames) for track in data.tracks]
        settings = {field.name: getattr(self.recipe, field.name) for field in dataclasses.fields(SeqTrackRecipe)}
        return identity_of(settings, names, self.network.encoder, self.content)


def budget_of(recipe: SeqTrackRecipe, save_every: int) -> Budget:
    """The steps of a recipe, whose batches are those of all processes together."""
    passes_of = at_once(recipe.train_batch_size, recipe.batch_size, world_size())
    return Budget(recipe.steps, recipe.train_batch_size, passes_of, save_every)
