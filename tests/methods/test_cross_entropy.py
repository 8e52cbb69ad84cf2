"""The loss that the methods with prototypes share."""

import torch
from golden import G

from longtake.methods.cross_entropy import cross_entropies, other_views


def test_equals_loops_in_float64():
    student, target = G((3, 4, 10), 0.37, 0.1).double(), G((2, 4, 10), 0.53, 0.2).double().softmax(-1)
    got = cross_entropies(student.float(), target.float(), 0.1)
    for g in range(2):
        for v in range(3):
            expected = -sum((target[g, b] * (student[v, b] / 0.1).log_softmax(-1)).sum() for b in range(4)) / 4
            torch.testing.assert_close(got[g, v].double(), expected, rtol=1e-5, atol=1e-6)


def test_other_views_leaves_out_the_same_view():
    pairs = torch.tensor([[9.0, 1.0, 2.0], [3.0, 9.0, 6.0]])
    assert other_views(pairs) == 3


def test_autograd_keeps_one_float32_copy_of_the_large_logits():
    student = torch.randn(6, 8, 1000, dtype=torch.bfloat16, requires_grad=True)
    target = torch.randn(2, 8, 1000).softmax(-1)
    kept = {}

    def keep(x):
        if x.numel() >= student.numel():
            kept[x.untyped_storage().data_ptr()] = x.dtype
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        loss = other_views(cross_entropies(student, target, 0.1))
    assert list(kept.values()) == [torch.float32]
    loss.backward()
    assert student.grad.abs().sum() > 0
