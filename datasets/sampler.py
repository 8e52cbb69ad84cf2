"""Which clips a training step sees."""

from collections.abc import Iterator

from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """The clip ids of this rank for each step `first_step` ... `num_steps` - 1; what a step sees depends on the step alone.

    A step takes the next batch_size * world_size slots of its epoch, of which each rank has a contiguous share; what is
    left at an epoch's end is dropped. `len` counts all `num_steps`, also when resumed: Lightning counts the steps before.

    Args:
        batch_size: clips per rank.
    """

    def __init__(
        self,
        clips_per_epoch: int,
        batch_size: int,
        num_steps: int,
        first_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.clips_per_epoch, self.batch_size, self.num_steps = clips_per_epoch, batch_size, num_steps
        self.first_step, self.rank, self.global_batch = first_step, rank, batch_size * world_size
        self.steps_per_epoch = clips_per_epoch // self.global_batch
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"an epoch of {clips_per_epoch} clips has no batch of {self.global_batch}; "
                "use a smaller batch_size or a larger clips_per_epoch"
            )

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.num_steps):
            epoch, batch = divmod(step, self.steps_per_epoch)
            first = epoch * self.clips_per_epoch + batch * self.global_batch + self.rank * self.batch_size
            yield list(range(first, first + self.batch_size))
