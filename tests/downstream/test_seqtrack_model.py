"""SeqTrack's network: its size, who sees whom, and the loss against a loop."""

import math

import pytest
import torch
from torch import Tensor

from longtake.backbones.vit import ViT
from longtake.downstream.seqtrack_model import (
    SeqTrackDecoder,
    check_encoder,
    joint_tokens,
    sequence_loss,
    sinusoids,
)
from longtake.downstream.seqtrack_tokens import hanning


@pytest.fixture
def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", 8, 32).eval()


@pytest.fixture
def decoder() -> SeqTrackDecoder:
    torch.manual_seed(1)
    return SeqTrackDecoder(128, 16, 50).eval()


def images(number: int, size: int = 32) -> Tensor:
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(size))


def test_the_size_is_seqtracks() -> None:
    """SeqTrack-B256 has 90.60 M parameters, 86.04 M of them in the encoder."""
    assert sum(p.numel() for p in SeqTrackDecoder(768, 256, 4000).parameters()) == pytest.approx(4.56e6, abs=5e3)


def test_one_image_alone_is_the_vit_without_its_class_token(encoder: ViT) -> None:
    x = images(2)
    tokens = encoder.embed(x, None, None)[:, 1:]
    for block in encoder.blocks:
        tokens = block(tokens)[0]
    torch.testing.assert_close(joint_tokens(encoder, x, []), encoder.norm(tokens))


@torch.no_grad()
def test_search_and_templates_see_one_another(encoder: ViT) -> None:
    search, first, second = images(2), images(2) + 1, images(2) * 2
    found = joint_tokens(encoder, search, [first, second])
    assert found.shape == (2, 16, 128)
    assert not torch.allclose(found, joint_tokens(encoder, search, [first, first]), atol=1e-3)
    torch.testing.assert_close(found, joint_tokens(encoder, search, [second, first]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[:1], joint_tokens(encoder, search[:1], [first[:1], second[:1]]))


@torch.no_grad()
def test_every_image_has_the_positions_of_its_own_grid(encoder: ViT) -> None:
    """Without blocks the tokens are the search crop's embedding, whatever the templates' size."""
    encoder.blocks = torch.nn.ModuleList()
    for size, n in ((32, 16), (48, 36)):
        search = images(1, size)
        expected = encoder.norm(encoder.embed(search, None, "align_corners")[:, 1:])
        found = joint_tokens(encoder, search, [images(1, 64)], "align_corners")
        assert found.shape[1] == n
        torch.testing.assert_close(found, expected)


def test_positions_are_those_of_the_transformer() -> None:
    table = sinusoids(7, 6)
    for p in range(7):
        for i in range(3):
            angle = p / 10000 ** (2 * i / 6)
            assert table[p, 2 * i : 2 * i + 2].tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)


@torch.no_grad()
def test_a_word_sees_only_those_before_it(decoder: SeqTrackDecoder) -> None:
    tokens = torch.randn(2, 16, 128, generator=torch.Generator().manual_seed(0))
    fed = torch.tensor([[51, 3, 30, 7, 9], [51, 0, 1, 2, 3]])
    other = fed.clone()
    other[:, 3] = 40
    scores, changed = decoder(tokens, fed), decoder(tokens, other)
    torch.testing.assert_close(scores[:, :3], changed[:, :3])
    assert not torch.allclose(scores[:, 3], changed[:, 3], atol=1e-3)
    assert not torch.allclose(scores, decoder(tokens.flip(1), fed), atol=1e-3), "where a token lies matters"


@torch.no_grad()
def test_generation_takes_the_likeliest_word_after_the_ones_before(decoder: SeqTrackDecoder) -> None:
    tokens = torch.randn(3, 16, 128, generator=torch.Generator().manual_seed(2))
    found, confidences = decoder.generate(tokens, None)
    fed = torch.cat([torch.full((3, 1), 51), found], 1)
    likely = decoder(tokens, fed).softmax(-1)[:, :4, :50].max(-1)
    assert torch.equal(likely.indices, found)
    torch.testing.assert_close(likely.values, confidences)
    centred, _ = decoder.generate(tokens, hanning(50) ** 100)  # a window so narrow that only the middle is left
    assert set(centred[:, :2].flatten().tolist()) <= {24, 25}


def test_the_loss_is_the_weighted_cross_entropy() -> None:
    logits = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0)).double()
    target = torch.tensor([[0, 9, 3, 4, 10], [5, 5, 5, 5, 10], [1, 2, 3, 4, 10]])
    total = weights = 0.0
    for scores, words in zip(logits, target, strict=True):
        for row, word in zip(scores.tolist(), words.tolist(), strict=True):
            weight = 0.01 if word >= 10 else 1.0
            total += weight * (math.log(sum(math.exp(v) for v in row)) - row[word])
            weights += weight
    assert float(sequence_loss(logits.float(), target)) == pytest.approx(total / weights, rel=1e-6)


def test_an_encoder_that_does_not_fit_is_named(encoder: ViT) -> None:
    assert check_encoder(encoder, search_size=64) is encoder
    with pytest.raises(
        ValueError, match="search_size: got 60 pixels, expected a multiple of the encoder's patch size 8"
    ):
        check_encoder(encoder, search_size=60)
    with pytest.raises(ValueError, match="got an encoder of type Linear"):
        check_encoder(torch.nn.Linear(1, 1), search_size=64)


@pytest.mark.parametrize("position_values", [False, True])
@torch.no_grad()
def test_positions_are_in_the_values_only_when_asked_for(position_values: bool) -> None:
    """Where all tokens are the same, SeqTrack's decoder cannot say where it looks."""
    torch.manual_seed(0)
    decoder = SeqTrackDecoder(16, 9, 20, position_values).eval()
    tokens, start = torch.ones(1, 9, 16), torch.full((1, 1), 21)
    before = decoder(tokens, start)
    decoder.memory_positions.copy_(decoder.memory_positions.roll(1, 0) * 2)
    assert torch.allclose(decoder(tokens, start), before, atol=1e-5) != position_values
