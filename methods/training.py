"""A method as Lightning trains it: the order of a step, its draws, its logs. Imported when something is trained."""

from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from longtake.datasets.views import Views
from longtake.methods.base import Method


class Training(lightning.LightningModule):
    """Calls the method's hooks when their time has come. Its checkpoints are the method's, tensor by tensor."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.method.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.method.load_state_dict(*args, **kwargs)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return self.method.make_optimizer()

    def on_train_batch_start(self, batch: Views, batch_idx: int) -> None:
        """Draws inside the loss depend on (seed, step, rank) alone; rates come from the schedules."""
        method, step = self.method, self.global_step
        method.global_step, method.scaled = step, self.trainer.precision == "16-mixed"
        state = np.random.SeedSequence([method.seed, step, self.global_rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0] >> 1))
        method.set_rates(self.optimizers().optimizer)  # type: ignore[union-attr]

    def training_step(self, batch: Views, batch_idx: int) -> Float[Tensor, ""]:
        method = self.method
        loss = method.training_step(batch)
        if not method.skipping:
            self._note()
            method.logged["lr"] = float(method.lrs[method.global_step])
            method.logged["weight_decay"] = float(method.weight_decays[method.global_step])
        self._log()
        return loss

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """Lightning calls this after the gradients are unscaled and before the optimiser moves."""
        self.method.clip_gradients()
        self._log()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if not self.method.skipping:
            self.method.after_step(self.method.global_step)

    def _log(self) -> None:
        self.log_dict(self.method.logged)
        self.method.logged = {}

    def _note(self) -> None:
        """Straight to the loggers: `self.log` would repeat the notes in the steps between."""
        noted = {f"health/{name}": float(value) for name, value in self.method.notes.items()}
        for logger in self.loggers if noted and self.trainer.is_global_zero else ():
            logger.log_metrics(noted, step=self.global_step)
