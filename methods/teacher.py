"""A teacher that is the moving average of its student (mean teacher, https://arxiv.org/abs/1703.01780)."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student, for the teacher's parameters (a mask token is the student's)."""
    students = dict(student.named_parameters())
    for name, parameter in teacher.named_parameters():
        parameter.mul_(momentum).add_((1 - momentum) * students[name])


def teacher_of(student: Network) -> Network:
    """A copy without gradients."""
    return copy.deepcopy(student).requires_grad_(False)
