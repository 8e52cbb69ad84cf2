import pytest
import torch

from longtake.methods.heads import DINOHead


def test_number_of_parameters_of_dinos_head():
    # 22,352,128 for 384 -> 65536 (facebookresearch/dino @ 7c446df)
    assert sum(p.numel() for p in DINOHead(384, 65536).parameters()) == 22_352_128


@pytest.mark.parametrize("norm_last_layer", [True, False])
def test_last_layer_is_weight_normalised(norm_last_layer):
    torch.manual_seed(0)
    head = DINOHead(16, 256, 32, 8, norm_last_layer)
    layer, x = head.last_layer, torch.randn(5, 16)
    layer.weight_g.data.uniform_(0.5, 2.0)
    rows = layer.weight_v / layer.weight_v.norm(dim=1, keepdim=True) * layer.weight_g
    hidden = head.mlp(x)
    torch.testing.assert_close(head(x), hidden / hidden.norm(dim=1, keepdim=True) @ rows.T)
    assert layer.weight_g.requires_grad is not norm_last_layer


def test_norm_starts_at_one_and_the_logits_are_cosines():
    head = DINOHead(16, 64, 32, 8)
    assert torch.equal(head.last_layer.weight_g, torch.ones(64, 1))
    assert head(torch.randn(100, 16)).abs().max() <= 1 + 1e-6
