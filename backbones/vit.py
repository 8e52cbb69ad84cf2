"""The one Vision Transformer of the suite (https://arxiv.org/abs/2010.11929), with timm's parameter names.

Letters: b images, n patches, d width, h heads, e = d / h width of a head.

It serves what the methods and the evaluations need: the final tokens, any intermediate block with or without the final norm, the
last block's queries and keys (fused attention has no matrix to return: `cls_attention` computes the one row that is asked for),
any height and width divisible by the patch, and the position-embedding interpolations of the original codes, by name.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

PosMode = Literal["size", "dino_offset", "align_corners", "antialias"]

# arch -> width, depth, heads. Ti, S, B as in DeiT (https://arxiv.org/abs/2012.12877, table 1); mini is ours, for 64-pixel pictures.
SIZES = {"mini": (128, 4, 4), "tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}


class Tokens(NamedTuple):
    """The normed tokens of an image, and the last block's queries and keys (before scaling, the class token first)."""

    cls: Float[Tensor, "b d"]
    patches: Float[Tensor, "b n d"]
    q: Float[Tensor, "b h n_plus_1 e"]
    k: Float[Tensor, "b h n_plus_1 e"]


def cls_attention(q: Float[Tensor, "b h n_plus_1 e"], k: Float[Tensor, "b h n_plus_1 e"]) -> Float[Tensor, "b h n"]:
    """Attention of the class token to the patches, softmax(q_cls k^T / sqrt(e)), without itself and not renormalised."""
    scores = q[:, :, :1].float() @ k.float().transpose(-2, -1) * q.shape[-1] ** -0.5  # (b, h, 1, n + 1)
    return scores.softmax(-1)[:, :, 0, 1:]


def resize_pos_embed(
    table: Float[Tensor, "1 n_plus_1 d"], old: tuple[int, int], new: tuple[int, int], mode: PosMode = "size"
) -> Float[Tensor, "1 m_plus_1 d"]:
    """Bicubic interpolation of the patch positions from grid `old` to grid `new`; the class position is passed through.

    `size` samples exactly the new grid (iBOT's dense tasks, DINOv2 without offset); `dino_offset` with the scale (new + 0.1) / old
    (DINO, iBOT, AttMask, DoRA; it moves the values, not only the rounding); `align_corners` is SeqTrack's; `antialias` is timm's.
    """
    if mode not in get_args(PosMode):
        raise ValueError(f"pos_mode: got {mode!r}, expected one of {', '.join(get_args(PosMode))}")
    if old == new:
        return table
    grid = table[:, 1:].float().unflatten(1, old).permute(0, 3, 1, 2)  # (1, d, h, w)
    if mode == "dino_offset":
        factors = tuple((n + 0.1) / o for n, o in zip(new, old, strict=True))
        grid = F.interpolate(grid, scale_factor=factors, mode="bicubic", recompute_scale_factor=False)
        assert tuple(grid.shape[-2:]) == new, (grid.shape, new)
    else:
        grid = F.interpolate(
            grid, size=new, mode="bicubic", align_corners=mode == "align_corners", antialias=mode == "antialias"
        )
    return torch.cat([table[:, :1], grid.flatten(2).transpose(1, 2).to(table.dtype)], dim=1)


class PatchEmbed(nn.Module):
    """One strided convolution, PyTorch's default initialisation."""

    def __init__(self, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, x: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b n d"]:
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention (fused); also returns its queries and keys."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"heads: width {dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (b, h, m, e) each
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(x), q, k


class _GELULinear(torch.autograd.Function):
    """linear(gelu(x)) that keeps x and works gelu(x) out again in the backward pass: a quarter of a ViT's activations less."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            hidden = F.gelu(x).to(grad.dtype)
        (to_x,) = torch.autograd.grad(hidden, x, grad @ weight.to(grad.dtype))
        rows = grad.flatten(0, -2)
        return to_x, rows.T @ hidden.detach().flatten(0, -2), rows.sum(0)


class Mlp(nn.Module):
    """Two layers with GELU between them, timm's parameter names."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        return _GELULinear.apply(self.fc1(x), self.fc2.weight, self.fc2.bias)


def stochastic_depth(rate: float) -> nn.Module:
    """timm's DropPath, or nothing at rate 0: importing timm takes as long as importing PyTorch."""
    if not rate:
        return nn.Identity()
    from timm.layers import DropPath

    return DropPath(rate)


class Block(nn.Module):
    """Pre-norm transformer block; stochastic depth is drawn per sample and per branch."""

    def __init__(self, dim: int, num_heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor, Tensor]:
        attended, q, k = self.attn(self.norm1(x))
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x))), q, k


class ViT(nn.Module):
    """Vision Transformer without a head.

    `arch` is a key of `SIZES`; `image_size` fixes only the size of the position table. `last_heads` changes the head count of the
    last block (paper B.2: 16 or 32). `mask_token` adds the token that stands for hidden patches (zero at the start, as in iBOT).
    """

    def __init__(
        self,
        arch: str = "small",
        patch_size: int = 16,
        image_size: int = 224,
        *,
        pos_mode: PosMode = "size",
        drop_path: float = 0.0,
        last_heads: int | None = None,
        mask_token: bool = False,
    ) -> None:
        super().__init__()
        if arch not in SIZES:
            raise ValueError(f"backbone.arch: got {arch!r}, expected one of {', '.join(SIZES)}")
        if image_size % patch_size:
            raise ValueError(f"image size {image_size} is not divisible by the patch size {patch_size}")
        self.embed_dim, self.depth, num_heads = SIZES[arch]
        self.arch, self.patch_size, self.image_size, self.pos_mode = arch, patch_size, image_size, pos_mode
        self.grid = (image_size // patch_size,) * 2
        self.patch_embed = PatchEmbed(patch_size, self.embed_dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, self.embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], self.embed_dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.embed_dim)) if mask_token else None
        rates = [drop_path * block / (self.depth - 1) for block in range(self.depth)]
        self.last_heads = last_heads or num_heads
        heads = [num_heads] * (self.depth - 1) + [self.last_heads]
        self.blocks = nn.ModuleList(Block(self.embed_dim, h, rate) for h, rate in zip(heads, rates, strict=True))
        self.norm = nn.LayerNorm(self.embed_dim, eps=1e-6)
        self._initialise()

    def _initialise(self) -> None:
        """Truncated normals of std 0.02, zero biases; the convolution keeps its own initialisation (DINO, DeiT)."""
        for table in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(table, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def grid_of(self, images: Float[Tensor, "*b 3 height width"]) -> tuple[int, int]:
        """Rows and columns of the patches of such images. Raises `ValueError` when the patch size does not divide them."""
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"image of {height} x {width}: both must be divisible by the patch size {self.patch_size}")
        return height // self.patch_size, width // self.patch_size

    def embed(
        self, x: Float[Tensor, "b 3 height width"], token_mask: Bool[Tensor, "b n"] | None, pos_mode: PosMode | None
    ) -> Float[Tensor, "b n_plus_1 d"]:
        """Patches, hidden ones replaced before the positions are added, behind the class token."""
        grid = self.grid_of(x)
        patches = self.patch_embed(x)
        if token_mask is not None:
            assert self.mask_token is not None, "ViT(mask_token=True) is needed to hide tokens"
            patches = torch.where(token_mask[..., None], self.mask_token.to(patches.dtype), patches)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        return tokens + resize_pos_embed(self.pos_embed, self.grid, grid, pos_mode or self.pos_mode)

    def forward(
        self,
        x: Float[Tensor, "b 3 height width"],
        token_mask: Bool[Tensor, "b n"] | None = None,
        pos_mode: PosMode | None = None,
    ) -> Tokens:
        """Final tokens of images of any size divisible by the patch (else `ValueError`); True in `token_mask` hides a patch."""
        tokens = self.embed(x, token_mask, pos_mode)
        for block in self.blocks:
            tokens, q, k = block(tokens)
        tokens = self.norm(tokens)
        return Tokens(tokens[:, 0], tokens[:, 1:], q, k)

    def intermediate(
        self,
        x: Float[Tensor, "b 3 height width"],
        blocks: Sequence[int],
        norm: bool = True,
        pos_mode: PosMode | None = None,
    ) -> list[Float[Tensor, "b n_plus_1 d"]]:
        """Tokens after the blocks of the given indices (negative ones count from the end, ascending), class token first.

        `norm` applies the final norm to each of them, as DINO's evaluations do.
        """
        wanted = [index % self.depth if -self.depth <= index < self.depth else self.depth for index in blocks]
        if self.depth in wanted or not wanted or any(a >= b for a, b in pairwise(wanted)):
            raise ValueError(f"blocks: got {list(blocks)}, expected ascending indices of {self.depth} blocks")
        tokens, taps = self.embed(x, None, pos_mode), []
        for index, block in enumerate(self.blocks[: wanted[-1] + 1]):
            tokens, _, _ = block(tokens)
            if index in wanted:
                taps.append(self.norm(tokens) if norm else tokens)
        return taps
