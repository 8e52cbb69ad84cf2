"""AttMask: what to hide from your students (https://arxiv.org/abs/2203.12719). iBOT whose masks follow the teacher's attention."""

from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from longtake.backbones.vit import Tokens, ViT, cls_attention
from longtake.datasets.views import Views
from longtake.methods.base import Duration, one_of
from longtake.methods.ibot import iBOT
from longtake.methods.masking import attention_mask, reveal_hints


class AttMask(iBOT, name="attmask"):
    """Hides the patches to which the teacher's class token attends the most, in its last block, the mean over heads.

    `mode`: high hides the most attended patches, low the least attended; hint hides the most attended ones but shows some of
    the top `show_max` share again. The share is drawn once per step from pred_ratio +- pred_ratio_var; an image is masked with
    probability `masking_prob`.
    """

    def __init__(
        self,
        backbone: ViT,
        duration: Duration,
        *,
        mode: str = "hint",
        pred_ratio: float = 0.3,
        pred_ratio_var: float = 0.2,
        masking_prob: float = 0.5,
        show_max: float = 0.1,
        **recipe: Any,
    ) -> None:
        super().__init__(backbone, duration, pred_ratio=pred_ratio, pred_ratio_var=pred_ratio_var, **recipe)
        one_of("mode", mode, ("high", "low", "hint"))
        if not 0 <= masking_prob <= 1 or not 0 <= show_max <= 1:
            raise ValueError(f"method.masking_prob={masking_prob} show_max={show_max}: expected shares between 0 and 1")
        self.mode, self.masking_prob, self.show_max = mode, masking_prob, show_max

    def draw_masks(self, tokens: Tokens, views: Views) -> Bool[Tensor, "gb n"]:
        attention = cls_attention(tokens.q, tokens.k).mean(1)  # (gb, n)
        ((low, high),) = self.ratios
        ratio, hint_ratio = (torch.rand(2) * (high - low) + low).tolist()
        if self.epoch < self.pred_start_epoch:
            ratio = 0.0
        masked = torch.rand(len(attention), 1, device=attention.device) < self.masking_prob
        token_mask = attention_mask(attention, ratio, most=self.mode != "low") & masked
        if self.mode == "hint":
            token_mask = reveal_hints(token_mask, attention, self.show_max * hint_ratio, self.show_max)
        return token_mask
