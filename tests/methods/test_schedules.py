"""Golden values of DINO's schedules: utils.cosine_scheduler, DINOLoss.teacher_temp_schedule."""

import numpy as np
import pytest

from longtake.methods.schedules import cosine_schedule, warmup_then_constant

GOLDEN = {
    "lr": ((2.5e-4, 1e-5, 1000, 100), {0: 0.0, 99: 2.5e-4, 100: 2.5e-4, 550: 1.3e-4, 999: 1.0000731081065153e-05}),
    "momentum": ((0.996, 1.0, 1000), {0: 0.996, 500: 0.998, 999: 0.9999999901304037}),
    "weight decay": ((0.04, 0.4, 1000), {0: 0.04, 500: 0.22, 999: 0.3999991117363345}),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_cosine_schedule_equals_dinos(name):
    arguments, values = GOLDEN[name]
    schedule = cosine_schedule(*arguments)
    assert len(schedule) == 1000
    for step, value in values.items():
        assert schedule[step] == pytest.approx(value, abs=1e-12)


def test_the_whole_vector_equals_the_formula_in_a_loop():
    base, final, total, warmup = 2.5e-4, 1e-5, 57, 13
    for step, value in enumerate(cosine_schedule(base, final, total, warmup)):
        if step < warmup:
            expected = base * step / (warmup - 1)
        else:
            expected = final + (base - final) * (1 + np.cos(np.pi * (step - warmup) / (total - warmup))) / 2
        assert value == pytest.approx(expected, abs=1e-15)


def test_teacher_temperature_of_the_golden_loss():
    assert warmup_then_constant(0.04, 0.07, 3, 10) == pytest.approx([0.04, 0.055] + [0.07] * 8)
    assert warmup_then_constant(0.04, 0.07, 0, 3) == pytest.approx([0.07] * 3)


@pytest.mark.parametrize(
    "schedule", [lambda: cosine_schedule(1.0, 0.0, 10, 11), lambda: warmup_then_constant(0.04, 0.07, 30, 10)]
)
def test_a_warmup_longer_than_the_run_is_an_error(schedule):
    with pytest.raises(ValueError, match="shorten"):
        schedule()


def test_edges():
    assert cosine_schedule(1.0, 0.0, 4, 4) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert cosine_schedule(1.0, 0.0, 1, 0) == pytest.approx([1.0])
