"""SeqTrack's network on any of our encoders (https://arxiv.org/abs/2304.14394, section 3; its code for what the paper leaves open).

Letters: b samples, n patches of the search crop, m templates, d width of the encoder, e width of the decoder, s words of a
sequence, v words of the vocabulary (bins + 2).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from longtake.backbones.vit import PosMode, ViT
from longtake.downstream.seqtrack_tokens import CENTRE, COORDINATES, best_token

HIDDEN_DIM, HEADS, FFN_RATIO, LAYERS, DROPOUT = 256, 8, 4, 2, 0.1  # seqtrack_b256_got.yaml
SPECIAL_WEIGHT = 0.01  # of START and END in the loss: train_script.py


def joint_tokens(
    encoder: ViT, search: Float[Tensor, "b 3 h w"], templates: Sequence[Tensor], pos_mode: PosMode | None = None
) -> Float[Tensor, "b n d"]:
    """Final patch tokens of the search crop after search and templates have attended to one another in every block.

    `templates` are m tensors (b, 3, height, width). Each image gets the positions of its own grid (the same for images of
    one size), as in SeqTrack's encoder, and the class token of `ViT.embed` is left out, as there is none in it: the
    sequence is the search crop's patches and then the templates', and the blocks and the final norm are the encoder's own.
    """
    images = [search, *templates]
    patches = [encoder.embed(image, None, pos_mode)[:, 1:] for image in images]
    tokens = torch.cat(patches, 1)
    for block in encoder.blocks:
        tokens, _, _ = block(tokens)
    return encoder.norm(tokens[:, : patches[0].shape[1]])


def sinusoids(length: int, width: int) -> Float[Tensor, "length width"]:
    """Positions as in "Attention is all you need", section 3.5."""
    rates = 10000 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).float()


class DecoderLayer(nn.Module):
    """DETR's layer (https://arxiv.org/abs/2005.12872): normed after each branch, positions added to queries and keys alone."""

    def __init__(self, dim: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.cross_attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ffn_dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        words: Float[Tensor, "b s e"],
        memory: Float[Tensor, "b n e"],
        word_positions: Float[Tensor, "s e"],
        memory_positions: Float[Tensor, "n e"],
    ) -> Float[Tensor, "b s e"]:
        later = torch.ones(words.shape[1], words.shape[1], dtype=torch.bool, device=words.device).triu(1)
        placed = words + word_positions
        attended, _ = self.self_attention(placed, placed, words, attn_mask=later, need_weights=False)
        words = self.norms[0](words + self.dropout(attended))
        attended, _ = self.cross_attention(
            words + word_positions, memory + memory_positions, memory, need_weights=False
        )
        words = self.norms[1](words + self.dropout(attended))
        return self.norms[2](words + self.dropout(self.ffn(words)))


class SeqTrackDecoder(nn.Module):
    """The part that is trained on a frozen encoder: bottleneck, words, two causal layers, and scores of the vocabulary.

    `num_patches` is that of the search crop. 4.56 M parameters for d = 768, 256 patches and 4000 bins, as in SeqTrack-B256.
    """

    def __init__(
        self, embed_dim: int, num_patches: int, bins: int, position_values: bool = False, dim: int = HIDDEN_DIM
    ) -> None:
        super().__init__()
        self.bins, self.position_values = bins, position_values
        self.bottleneck = nn.Linear(embed_dim, dim)
        self.words = nn.Embedding(bins + 2, dim)
        self.word_norm = nn.LayerNorm(dim)
        self.word_positions = nn.Parameter(torch.empty(COORDINATES + 1, dim))
        self.memory_positions = nn.Parameter(sinusoids(num_patches, dim))
        self.dropout = nn.Dropout(DROPOUT)
        self.layers = nn.ModuleList(DecoderLayer(dim, HEADS, FFN_RATIO * dim, DROPOUT) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(dim)
        self.vocabulary = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(),
            nn.Linear(dim, bins + 2),
        )  # fmt: skip
        for weight in (self.words.weight, self.word_positions, *self.layers.parameters()):
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, tokens: Float[Tensor, "b n d"], fed: Int[Tensor, "b s"]) -> Float[Tensor, "b s v"]:
        """Scores of the word after each of the words that are `fed`, from the encoder's tokens of the search crop."""
        memory = self.bottleneck(tokens)
        if self.position_values:
            memory = memory + self.memory_positions
        words = self.dropout(self.word_norm(self.words(fed)))
        for layer in self.layers:
            words = layer(words, memory, self.word_positions[: fed.shape[1]], self.memory_positions)
        return self.vocabulary(self.norm(words))

    @torch.no_grad()
    def generate(
        self, tokens: Float[Tensor, "b n d"], window: Float[Tensor, "bins"] | None
    ) -> tuple[Int[Tensor, "b 4"], Float[Tensor, "b 4"]]:
        """Tokens of the box, each the likeliest after the ones before it, and their probabilities (`best_token`)."""
        fed = torch.full((len(tokens), 1), self.bins + 1, device=tokens.device)
        confidences = []
        for step in range(COORDINATES):
            logits = self(tokens, fed)[:, -1].float()
            confidence, token = best_token(logits, self.bins, window if step < CENTRE else None)
            fed = torch.cat([fed, token[:, None]], 1)
            confidences.append(confidence)
        return fed[:, 1:], torch.stack(confidences, 1)


def sequence_loss(logits: Float[Tensor, "b s v"], target: Int[Tensor, "b s"]) -> Float[Tensor, ""]:
    """Cross entropy in which the two special words weigh `SPECIAL_WEIGHT`; divided by the weights, as PyTorch does it."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[-2:] = SPECIAL_WEIGHT
    return F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), weight)


def check_encoder(encoder: Any, **sizes: int) -> ViT:
    """The encoder. Raises `ValueError` when it is no ViT, or its patch does not divide one of `sizes` (pixels, by name)."""
    if not isinstance(encoder, ViT):
        raise ValueError(f"SeqTrack: got an encoder of type {type(encoder).__name__}, expected a ViT of longtake")
    for name, size in sizes.items():
        if size % encoder.patch_size:
            raise ValueError(
                f"{name}: got {size} pixels, expected a multiple of the encoder's patch size {encoder.patch_size}"
            )
    return encoder
