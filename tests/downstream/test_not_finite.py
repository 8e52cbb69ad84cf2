"""An encoder that is not finite, or that float32 is too small for, gets no number from any evaluation; every evaluation says so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from eval_cases import CASES, maker, vit

from longtake.backbones.finite import LARGEST, NotFinite, check_weights, checked, usable
from longtake.backbones.vit import ViT
from longtake.downstream.base import frozen, save_outcomes

pytestmark = pytest.mark.usefixtures("stores_of_tests_alone")


def with_values(value: float, *names: str) -> Callable[[ViT], None]:
    def spoil(encoder: ViT) -> None:
        for name, parameter in encoder.named_parameters():
            if not names or name in names:
                parameter.flatten()[:3] = value

    return spoil


def scaled(factor: float, part: str) -> Callable[[ViT], None]:
    def spoil(encoder: ViT) -> None:
        for name, parameter in encoder.named_parameters():
            if part in name:
                parameter.mul_(factor)

    return spoil


SPOILT = {
    "NaN": with_values(float("nan")),
    "one NaN": with_values(float("nan"), "blocks.1.attn.qkv.weight"),
    "Inf": with_values(float("inf")),
    "one Inf": with_values(float("inf"), "blocks.0.mlp.fc2.bias"),
    "overflow": scaled(1e36, ".mlp."),  # finite weights, tokens that are not
    "hidden overflow": scaled(1e20, "patch_embed"),  # squares are not finite: the final norm makes zeros of everything
}


def spoilt(how: str) -> ViT:
    encoder = vit()
    with torch.no_grad():
        SPOILT[how](encoder)
    return encoder


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("name", CASES)
def test_no_evaluation_has_a_number_for_it(name: str, how: str, data, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match=r"not finite|numbers overflow|squares overflow"):
        maker(CASES[name], data(name))().evaluate(spoilt(how), tmp_path)
    assert not list(tmp_path.rglob("outcomes.npz"))


@pytest.mark.parametrize("name", CASES)
def test_a_sound_encoder_is_left_without_hooks(name: str, data, tmp_path: Path) -> None:
    encoder = vit()
    maker(CASES[name], data(name))().evaluate(encoder, tmp_path)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())


def test_hooks_end_with_an_error_too() -> None:
    encoder = vit()
    with pytest.raises(KeyError), frozen(encoder, "cpu"):
        raise KeyError
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_numbers_of_every_type_are_judged(kind: torch.dtype) -> None:
    sound = torch.tensor([-3.0, 0.0, 6e4], dtype=kind)
    assert checked(sound, "x") is sound
    assert usable(sound, training=True) is sound
    assert checked(torch.zeros(0, dtype=kind), "nothing").numel() == 0
    for value in ("nan", "inf", "-inf", *([] if kind == torch.float16 else [10 * LARGEST, -10 * LARGEST])):
        wrong = torch.tensor([1.0, float(value)], dtype=kind)
        with pytest.raises(NotFinite, match=r"x: (1 of 2 values are not finite|values up to 1\.0e\+18, whose squares)"):
            checked(wrong, "x")
        assert usable(wrong, training=True).isnan().all()


def test_weights_are_named() -> None:
    large = torch.full((4,), 3e38)  # their sum overflows, they do not
    check_weights({"number": torch.tensor(3), "large": large}, "a file")
    with pytest.raises(
        NotFinite, match=r"^a file: tensor b has 2 of 5 values that are not finite \(NaN or Inf\); train again$"
    ):
        check_weights({"a": large, "b": torch.tensor([1, float("nan"), 2, float("inf"), 3])}, "a file", "; train again")


def test_outcomes_are_finite_or_do_not_count(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nan, values = np.full(3, np.nan), np.array([1.0, np.nan, 0.0])
    with pytest.raises(ValueError, match=r"none of the 3 items can be scored \(a, b, c, \.\.\.\): there is no row"):
        save_outcomes(tmp_path, ["a", "b", "c"], {"x": nan, "y": nan})
    with pytest.raises(NotFinite, match="x: b has inf, expected a finite number"):
        save_outcomes(tmp_path, ["a", "b", "c"], {"x": np.array([1, np.inf, 0])})
    assert not list(tmp_path.iterdir())
    assert save_outcomes(tmp_path, ["a", "b", "c"], {"x": values, "y": nan}) == {"x": 50.0}
    assert "not scored: 3 of 3 items, so that there is no y: a, b, c" in capfd.readouterr().err
