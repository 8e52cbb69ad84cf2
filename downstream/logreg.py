"""Logistic regression on frozen CLS features: a linear probe without learning rates (scikit-learn).

DINOv2's protocol (https://arxiv.org/abs/2304.07193, eval/log_regression.py): the regularisation is chosen on a tenth of the
training images, then all of them are fitted; short side and crop are both 224 pixels.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int

from longtake.console import progress_bar
from longtake.downstream.base import Encoder, save_outcomes
from longtake.downstream.features import FrozenClassification
from longtake.downstream.linear import split_held_out

COSTS = (1e-6, 1e5, 45)  # the inverse of the regularisation: from, to, how many, evenly in the logarithm

SMALL = 1_000_000  # numbers; the products of fewer take longer to divide among BLAS's threads than to compute


@dataclass(kw_only=True)
class LogisticRegression(FrozenClassification, name="logreg"):
    """L2-regularised multinomial logistic regression, fitted by L-BFGS in float64. Meant for up to some 50 000 images."""

    metrics: ClassVar[tuple[str, ...]] = ("top1", "top5")
    holds_out: ClassVar[bool] = True

    held_out: float = 0.1  # share of each class's training images that chooses the regularisation
    costs: tuple[float, float, int] = COSTS
    max_iter: int = 1000
    tolerance: float = 1e-12
    seed: int = 0

    def evaluate(self, encoder: Encoder, workdir: Path) -> dict[str, float]:
        train, test = self.open()
        fitted, tested = self.extract(encoder, train), self.extract(encoder, test)
        x, y = fitted.features.double().numpy(), fitted.labels.numpy()
        cost = self.choose(x, y)
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "cost.txt").write_text(f"{cost:.6g}\n")
        probabilities = self.fit(x, y, cost).predict_proba(tested.features.double().numpy())
        top = torch.from_numpy(probabilities).topk(min(5, len(train.classes)), dim=1).indices
        hits = (top == tested.labels[:, None]).double().numpy()
        return save_outcomes(workdir, test.items, {"top1": hits[:, 0], "top5": hits.max(1)})

    def choose(self, x: Float[np.ndarray, "n d"], y: Int[np.ndarray, "n"]) -> float:
        """The cost that is best on the held-out images; of equal ones the strongest regularisation."""
        kept, held = split_held_out(y, self.held_out, self.seed)
        low, high, count = self.costs
        costs = np.geomspace(low, high, count)
        scores = []
        with progress_bar(self.progress) as bar:
            for cost in bar.track(costs, description="logistic regression"):
                scores.append(self.fit(x[kept], y[kept], cost).score(x[held], y[held]))
        return float(costs[int(np.argmax(scores))])

    def fit(self, x: Float[np.ndarray, "n d"], y: Int[np.ndarray, "n"], cost: float) -> Any:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Model
        from threadpoolctl import threadpool_limits

        model = Model(C=cost, max_iter=self.max_iter, tol=self.tolerance)
        threads = None if x.size > SMALL else 1
        with threadpool_limits(threads, user_api="blas"), warnings.catch_warnings():
            # At this tolerance some costs stop at max_iter, as in the original.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(x, y)
