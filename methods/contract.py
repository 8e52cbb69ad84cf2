"""The contract that every method keeps, whoever wrote it: `run task=check method=NAME`, and the tests over configs/method."""

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from longtake.datasets.views import Views
from longtake.methods.base import Method

MakeMethod = Callable[[], Method]
State = dict[str, Tensor]
SEED = 0


class Rest(IterableDataset):
    """The batches from `first` on; its length counts all, as Lightning counts the steps before."""

    def __init__(self, batches: Sequence[Views], first: int) -> None:
        self.batches, self.first = batches, first

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Views]:
        return iter(self.batches[self.first :])


def train(
    method: Method, batches: Sequence[Views], folder: Path, last: int | None = None, start: Path | None = None
) -> State:
    """The state after the steps up to `last`, continuing from the checkpoint `start`; `folder/last.ckpt` is written."""
    import lightning  # here, as in `engine.fit`: it takes seconds, and most of the contract needs none

    from longtake.methods.training import Training

    first = torch.load(start, weights_only=True)["global_step"] if start else 0
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=len(batches) if last is None else last, max_epochs=-1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Training(method), DataLoader(Rest(batches, first), batch_size=None), ckpt_path=start, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return copy.deepcopy(method.state_dict())


def losses_of(method: Method, views: Views) -> dict[str, Tensor]:
    torch.manual_seed(SEED)
    return method.losses(views)


def losses_are_finite(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    for name, value in losses_of(make(), batches[0]).items():
        if value.shape or value.dtype != torch.float32 or not value.isfinite():
            return f"loss {name} is {value}, expected one finite float32 number"
    return None


def gradients_reach_the_student_alone(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    method = make()
    torch.stack(list(losses_of(method, batches[0]).values())).sum().backward()
    for name, p in method.named_parameters():
        if p.requires_grad and p.grad is None:
            return f"{name} is trained and gets no gradient"
        if not p.requires_grad and p.grad is not None:
            return f"{name} is not trained and gets a gradient"
        if name.startswith("backbone.") and not name.endswith("mask_token") and not p.grad.abs().sum() > 0:  # type: ignore[union-attr]
            return f"the gradient of {name} is zero"
    return None


def teacher_moves_only_after_the_step(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    """Frozen parameters keep still in the loss and its backward pass, and move towards the student in `after_step`."""
    method = make()
    frozen = {name: p for name, p in method.named_parameters() if not p.requires_grad}
    before = {name: p.clone() for name, p in frozen.items()}
    torch.stack(list(losses_of(method, batches[0]).values())).sum().backward()
    with torch.no_grad():
        for p in method.parameters():
            if p.grad is not None:
                p.sub_(0.1 * p.grad)
    moved = [name for name, p in frozen.items() if not torch.equal(p, before[name])]
    if moved:
        return f"{moved[0]} moved without `after_step`"
    method.after_step(0)
    if method.encoder is method.backbone:
        return None
    students = dict(method.backbone.named_parameters())
    for name, p in method.encoder.named_parameters():
        old, student = before[next(n for n, q in frozen.items() if q is p)], students[name]
        distance, moved_by = (old - student).norm(), (p - old).norm()
        if distance > 1e-6 and not 0 < moved_by <= distance * (1 + 1e-4):
            return f"the teacher's {name} did not move towards the student"
    return None


def order_of_the_batch_does_not_matter(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    if make().draws_per_image:
        return None
    views = batches[0]
    order = torch.arange(len(views.index)).flip(0)
    turned = Views(tuple(v[order] for v in views.globals), tuple(v[order] for v in views.locals), views.index[order])
    a, b = losses_of(make(), views), losses_of(make(), turned)
    for name in a:
        if not torch.allclose(a[name], b[name], rtol=1e-4, atol=1e-5):
            return f"loss {name} is {a[name]:.6f}, and {b[name]:.6f} with the batch in reverse (set draws_per_image if it is meant)"
    return None


def training_is_deterministic(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        return difference(*(train(make(), batches, Path(folder)) for _ in range(2)))


def a_stopped_run_goes_on_exactly(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        whole = train(make(), batches, Path(folder))
        train(make(), batches, Path(folder), last=len(batches) // 2)
        return difference(whole, train(make(), batches, Path(folder), start=Path(folder) / "last.ckpt"))


def two_epochs_leave_finite_weights_that_moved(make: MakeMethod, batches: Sequence[Views]) -> str | None:
    method = make()
    before = copy.deepcopy(method.encoder.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        state = train(method, batches, Path(folder))
    if broken := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        return f"{broken[0]} is not finite"
    if not difference(before, method.encoder.state_dict()):
        return "the encoder did not move"
    return f"{int(method.num_skipped)} steps were not finite" if method.num_skipped else None


def difference(a: State, b: State) -> str | None:
    """The first tensor that is not bit-equal."""
    return next((f"{name} differs" for name in a if not torch.equal(a[name], b[name])), None)


CONTRACT = (
    losses_are_finite,
    gradients_reach_the_student_alone,
    teacher_moves_only_after_the_step,
    order_of_the_batch_does_not_matter,
    two_epochs_leave_finite_weights_that_moved,
    training_is_deterministic,
    a_stopped_run_goes_on_exactly,
)
