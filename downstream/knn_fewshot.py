"""Few-shot k-NN: the k-NN column with a handful of training images per class, averaged over draws of them.

DINOv2's protocol (https://arxiv.org/abs/2304.07193, eval/knn.py: --n-per-class-list, --n-tries): the images are drawn anew for
each try; the rule of the votes is that of downstream/knn.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int

from longtake.downstream.base import Encoder, save_outcomes
from longtake.downstream.features import FrozenClassification, LabelledFeatures
from longtake.downstream.knn import knn_classify

SHOTS = (1, 5, 10)  # training images per class
NUM_NEIGHBORS = 20  # at most; all of them where there are fewer


@dataclass(kw_only=True)
class FewShotKNN(FrozenClassification, name="knn_fewshot"):
    """Top-1 with 1, 5 and 10 images per class; an image's outcome is its share of hits over the tries."""

    metrics: ClassVar[tuple[str, ...]] = tuple(f"top1_{shots}shot" for shots in SHOTS)

    tries: int = 5
    seed: int = 0

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        train, test = self.open()
        bank, queries = self.extract(encoder, train), self.extract(encoder, test)
        outcomes = {
            metric: np.mean(
                [self._hits(bank, queries, shots, t, len(train.classes)) for t in range(self.tries)], axis=0
            )
            for metric, shots in zip(self.metrics, SHOTS, strict=True)
        }
        return save_outcomes(workdir, test.items, outcomes)

    def _hits(
        self, bank: LabelledFeatures, queries: LabelledFeatures, shots: int, attempt: int, num_classes: int
    ) -> Float[np.ndarray, "m"]:
        chosen = torch.from_numpy(draw_shots(bank.labels.numpy(), shots, (self.seed, shots, attempt)))
        features = F.normalize(bank.features[chosen], dim=1).to(self.device)
        tested = F.normalize(queries.features, dim=1).to(self.device)
        k = min(NUM_NEIGHBORS, len(chosen))
        ranked = knn_classify(features, bank.labels[chosen].to(self.device), tested, [k], num_classes)[k]
        return (ranked[:, 0].cpu() == queries.labels).double().numpy()


def draw_shots(labels: Int[np.ndarray, "n"], shots: int, seed: tuple[int, ...]) -> Int[np.ndarray, "chosen"]:
    """Ids of `shots` images of each class (all of a class that has fewer), ascending."""
    draw = np.random.default_rng(seed)
    chosen = [draw.permutation(np.flatnonzero(labels == label))[:shots] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))
