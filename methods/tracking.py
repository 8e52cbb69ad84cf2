"""Discovering objects in the first frame of a clip and following them through it: equations (1) to (7) of DoRA.

Everything is read off the last block of a ViT (https://arxiv.org/abs/2310.08584, section 4); nothing here is trained.

Letters: b clips, t frames, k objects, h heads, n patches of a frame, d width.
"""

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from longtake.backbones.vit import Tokens, cls_attention
from longtake.methods.masking import block_mask
from longtake.methods.sinkhorn import sinkhorn, sinkhorn_exp

MASK_KINDS = ("soft", "binary_batch", "binary_sample")
MASK_NORMS = ("max", "minmax", "none")
UPSAMPLINGS = ("bilinear", "nearest")
OBJECT_SOURCES = ("attention", "random_block")
ROW_MASSES = ("1/k", "n/k")
SOLVERS = {"log": sinkhorn, "exp": sinkhorn_exp}
FLAT = 1e-3  # a map of less contrast hides nothing: the frame as good as whole


def joined(heads: Float[Tensor, "b h n_plus_1 e"]) -> Float[Tensor, "b n d"]:
    """Queries or keys of the patches, all heads side by side, in float32."""
    return heads[:, :, 1:].transpose(1, 2).flatten(2).float()


def discover(attention: Float[Tensor, "b k n"], queries: Float[Tensor, "b n d"]) -> Float[Tensor, "b k d"]:
    """Object prototypes P = A Q: the patches' queries, weighted by the class token's attention in k heads (eq. 2)."""
    return attention @ queries


def refine(
    prototypes: Float[Tensor, "b k d"],
    patches: Float[Tensor, "b n d"],
    epsilon: float = 0.05,
    num_iterations: int = 30,
    normalize: bool = False,
    row_mass: str = "1/k",
    domain: str = "log",
) -> Float[Tensor, "b k d"]:
    """P' = M* Z, with the transport plan M* of the scores P Z^T between objects and patches (eqs. 4 and 5).

    The paper's M* has rows of sum 1/k. The release's have n/k, and its patches Z are L2-normalised (`normalize`).
    """
    patches = F.normalize(patches, dim=-1) if normalize else patches
    plan = SOLVERS[domain](patches @ prototypes.transpose(1, 2), epsilon, num_iterations).transpose(
        1, 2
    )  # (b, k, n), columns sum to 1
    return (plan if row_mass == "n/k" else plan / patches.shape[1]) @ patches


def track(prototypes: Float[Tensor, "b k d"], keys: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t k n"]:
    """Cross-attention of the objects to the patches of every frame, softmax(P K^T / sqrt(d)) (eqs. 3 and 6)."""
    return (prototypes[:, None] @ keys.transpose(2, 3) * keys.shape[-1] ** -0.5).softmax(-1)


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """Turn a ViT's tokens into maps of k objects over the frames of clips.

    `sinkhorn=False` tracks the unrefined prototypes (eq. 3). `objects_from=random_block` is the paper's ablation (table 2c),
    of which no code exists: random blocks stand in for the heads' attention, as prototypes when they are refined,
    and directly as maps, the blocks hidden in all frames, when they are not.
    """

    num_objects: int = 3
    sinkhorn: bool = True
    objects_from: str = "attention"
    block_ratio: float = 0.3  # of the patches in a random block: iBOT's default
    sk_epsilon: float = 0.05
    sk_iterations: int = 30
    sk_normalize: bool = False
    sk_row_mass: str = "1/k"
    sk_domain: str = "log"

    @torch.no_grad()
    def __call__(self, tokens: Tokens, num_frames: int, grid: tuple[int, int]) -> Float[Tensor, "b t k n"]:
        """Maps whose n weights sum to 1. `tokens` are those of b x t frames, a clip's frames in a row."""
        with torch.autocast(tokens.q.device.type, enabled=False):
            keys = joined(tokens.k).unflatten(0, (-1, num_frames))  # (b, t, n, d)
            first = slice(None, None, num_frames)  # objects are found in the first frame
            if self.objects_from == "attention":
                attention = cls_attention(tokens.q[first], tokens.k[first])  # (b, h, n)
                attention = attention[:, self.choose_heads(attention.shape[1]).to(attention.device)]
            else:
                blocks = self.random_blocks(len(keys), grid).to(keys.device)  # (b, k, n)
                if not self.sinkhorn:
                    shown = (~blocks).float() / (~blocks).sum(-1, keepdim=True)
                    return shown[:, None].expand(-1, num_frames, -1, -1)
                attention = blocks.float() / blocks.sum(-1, keepdim=True).clamp(min=1)
            prototypes = discover(attention, joined(tokens.q[first]))
            if self.sinkhorn:
                prototypes = refine(
                    prototypes, tokens.patches[first].float(), self.sk_epsilon, self.sk_iterations,
                    self.sk_normalize, self.sk_row_mass, self.sk_domain,
                )  # fmt: skip
            return track(prototypes, keys)

    def choose_heads(self, num_heads: int) -> Int[Tensor, "k"]:
        """k different heads, the same for all clips of the step."""
        return torch.randperm(num_heads)[: self.num_objects]

    def random_blocks(self, num_clips: int, grid: tuple[int, int]) -> Bool[Tensor, "b k n"]:
        """iBOT's block-wise masks, one for each object."""
        draw = random.Random(int(torch.randint(2**62, ())))
        masks = [block_mask(grid, self.block_ratio, draw) for _ in range(num_clips * self.num_objects)]
        return torch.stack(masks).flatten(1).unflatten(0, (num_clips, self.num_objects))


def weights_of(maps: Float[Tensor, "b t k n"], kind: str = "soft", norm: str = "max") -> Float[Tensor, "b t k n"]:
    """Turn softmax maps into the weights that the frames are multiplied with: 0 hides a patch, 1 keeps it.

    soft: the map itself (eq. 7), divided by its maximum, stretched to 0 ... 1 (minmax), or as it is (none: about 1/n, almost
    black). binary_sample: 1 where a map is above its mean. binary_batch, as the release: 1 where the map, of unit L2 norm, is
    above the mean of all such maps of that frame and object in the batch.
    """
    assert kind in MASK_KINDS, kind
    assert norm in MASK_NORMS, norm
    if kind == "binary_sample":
        return (maps > maps.mean(-1, keepdim=True)).float()
    if kind == "binary_batch":
        unit = F.normalize(maps, dim=-1)
        return (unit > unit.mean((0, 3), keepdim=True)).float()
    high, low = maps.amax(-1, keepdim=True), maps.amin(-1, keepdim=True)
    if norm == "max":
        return maps / high
    return (maps - low) / (high - low).clamp(min=1e-12) if norm == "minmax" else maps


def contrast(weights: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """Michelson's: (max - min) / (max + min), 0 for a flat map, 1 where something is hidden completely."""
    high, low = weights.amax(-1), weights.amin(-1)
    return (high - low) / (high + low).clamp(min=1e-12)


def overlap(maps: Float[Tensor, "*b k n"]) -> Float[Tensor, "*b"]:
    """Mean cosine between the maps of two objects of a frame: 1 when they are the same, 0 when they share no patch (or k = 1)."""
    unit, k = F.normalize(maps, dim=-1), maps.shape[-2]
    cosine = (unit @ unit.transpose(-1, -2)).sum((-1, -2)) - unit.square().sum((-1, -2))
    return cosine / max(k * (k - 1), 1)


def mended(weights: Float[Tensor, "*b n"]) -> tuple[Float[Tensor, "*b n"], Bool[Tensor, "*b"]]:
    """Whole frames in place of maps that are empty, not finite, or flat; and which maps those were."""
    bad = ~weights.isfinite().all(-1) | (weights.amax(-1) <= 0) | ~(contrast(weights) >= FLAT)
    return torch.where(bad[..., None], 1.0, weights), bad


def masked_frames(
    frames: Float[Tensor, "b t 3 height width"],
    weights: Float[Tensor, "b t k n"],
    grid: tuple[int, int],
    upsampling: str = "bilinear",
) -> Float[Tensor, "k b t 3 height width"]:
    """The frames once per object, multiplied with its upsampled map (eq. 7). Frames are normalised: 0 is the mean colour."""
    maps = (
        weights.permute(2, 0, 1, 3).flatten(0, 2).unflatten(1, (1, *grid)).to(frames.dtype)
    )  # (k b t, 1, rows, columns)
    maps = F.interpolate(maps, size=frames.shape[-2:], mode=upsampling)
    return frames * maps.unflatten(0, (weights.shape[2], *frames.shape[:2]))
