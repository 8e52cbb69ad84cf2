"""Layer-wise decay against the groups of the optimiser constructors that come with iBOT's segmentation and detection."""

import pytest
import torch
from torch import nn

from longtake.backbones.vit import ViT
from longtake.downstream.layer_decay import layer_decay_groups


class Segmentor(nn.Module):
    """The parameters of the golden case: a ViT-S/16 with mask token and pyramid, and two heads' last layers."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ViT("small", 16, 224, mask_token=True)
        self.backbone.fpn1 = nn.Sequential(
            nn.ConvTranspose2d(384, 384, 2, 2), nn.BatchNorm2d(384), nn.GELU(), nn.ConvTranspose2d(384, 384, 2, 2)
        )
        self.backbone.fpn2 = nn.Sequential(nn.ConvTranspose2d(384, 384, 2, 2))
        self.decode_head, self.auxiliary_head = (nn.ModuleDict({"conv_seg": nn.Conv2d(d, 150, 1)}) for d in (384, 256))


@pytest.fixture(scope="module")
def segmentor() -> Segmentor:
    with torch.device("meta"):
        return Segmentor()


# Group of some parameters; the same for both rates.
GROUP_OF = {
    "backbone.cls_token": "layer_0_decay",
    "backbone.pos_embed": "layer_0_decay",
    "backbone.mask_token": "layer_0_decay",
    "backbone.patch_embed.proj.weight": "layer_0_decay",
    "backbone.patch_embed.proj.bias": "layer_0_no_decay",
    "backbone.blocks.0.norm1.weight": "layer_1_no_decay",
    "backbone.blocks.0.attn.qkv.weight": "layer_1_decay",
    "backbone.blocks.0.attn.qkv.bias": "layer_1_no_decay",
    "backbone.blocks.5.mlp.fc1.weight": "layer_6_decay",
    "backbone.blocks.11.mlp.fc2.weight": "layer_12_decay",
    "backbone.blocks.11.mlp.fc2.bias": "layer_12_no_decay",
    "backbone.norm.weight": "layer_13_no_decay",
    "backbone.fpn1.0.weight": "layer_13_decay",
    "backbone.fpn1.1.weight": "layer_13_no_decay",
    "decode_head.conv_seg.weight": "layer_13_decay",
    "decode_head.conv_seg.bias": "layer_13_no_decay",
    "auxiliary_head.conv_seg.weight": "layer_13_decay",
}
# Recipes of iBOT's two READMEs: rate, base lr; and what its constructors give: the scale of each layer.
CASES = {
    "seg": (
        0.9, 3e-5,
        [0.254186582833, 0.282429536481, 0.31381059609, 0.3486784401, 0.387420489, 0.43046721, 0.4782969, 0.531441,
         0.59049, 0.6561, 0.729, 0.81, 0.9, 1.0],
    ),
    "det": (
        0.8, 1e-4,
        [0.0549755813888, 0.068719476736, 0.08589934592, 0.1073741824, 0.134217728, 0.16777216, 0.2097152, 0.262144,
         0.32768, 0.4096, 0.512, 0.64, 0.8, 1.0],
    ),
}  # fmt: skip
# Tensors and numbers in the groups that decay and those that do not: first layer, every block, last layer.
SIZES = {"decay": [(4, 371328), (4, 1769472), (5, 1865472)], "no_decay": [(1, 384), (8, 4992), (9, 2988)]}


@pytest.mark.parametrize("case", CASES)
def test_groups_are_those_of_the_official_constructors(segmentor: Segmentor, case: str) -> None:
    rate, lr, scales = CASES[case]
    groups = layer_decay_groups(segmentor, 12, lr=lr, weight_decay=0.05, rate=rate, prefix="backbone.")
    named = {group["name"]: group for group in groups}
    assert len(groups) == len(named) == 28
    assert sum(len(group["params"]) for group in groups) == 163
    for name, expected in GROUP_OF.items():
        assert [g["name"] for g in groups if name in g["param_names"]] == [expected]
    for layer, scale in enumerate(scales):
        for kind, weight_decay in (("decay", 0.05), ("no_decay", 0.0)):
            group = named[f"layer_{layer}_{kind}"]
            assert group["lr_scale"] == pytest.approx(scale, abs=1e-12)
            assert group["lr"] == pytest.approx(lr * scale, abs=1e-12, rel=1e-9)
            assert group["weight_decay"] == weight_decay
            size = SIZES[kind][0 if layer == 0 else 2 if layer == 13 else 1]
            assert (len(group["params"]), sum(p.numel() for p in group["params"])) == size


def test_the_tables_can_be_spared_the_weight_decay(segmentor: Segmentor) -> None:
    """BEiT's recipe of fine-tuning: no decay of positions and class token; the mask token keeps it."""
    groups = layer_decay_groups(
        segmentor, 12, lr=1.0, weight_decay=0.05, rate=0.75, prefix="backbone.", decay_tables=False
    )
    kind = {name: group["name"] for group in groups for name in group["param_names"]}
    assert kind["backbone.pos_embed"] == kind["backbone.cls_token"] == "layer_0_no_decay"
    assert kind["backbone.mask_token"] == "layer_0_decay"


def test_the_optimiser_takes_them_and_frozen_parameters_are_left_out() -> None:
    model = nn.ModuleDict({"encoder": ViT("mini", 8, 32), "head": nn.Linear(128, 3)})
    model["encoder"].pos_embed.requires_grad_(False)
    groups = layer_decay_groups(model, 4, lr=1.0, weight_decay=0.05, rate=0.5, prefix="encoder.")
    optimizer = torch.optim.AdamW(groups)
    assert sorted(group["lr"] for group in optimizer.param_groups)[0] == 0.5**5
    assert "encoder.pos_embed" not in {name for group in groups for name in group["param_names"]}
    assert sum(len(group["params"]) for group in groups) == sum(1 for p in model.parameters() if p.requires_grad)


def test_without_decay_all_rates_are_one() -> None:
    groups = layer_decay_groups(ViT("mini", 8, 32), 4, lr=0.25, weight_decay=0.1)
    assert {group["lr_scale"] for group in groups} == {1.0}
    assert {group["lr"] for group in groups} == {0.25}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": "backbone.encoder."}, r"prefix='backbone\.encoder\.': no parameter .* begins with it"),
        ({"depth": 11}, r"backbone\.blocks\.11\..*: expected 11 blocks"),
        ({"depth": 13}, "got 12 blocks, expected 13"),
        ({"rate": 1.5}, r"got rate=1\.5, expected a number in \(0, 1\]"),
        ({"rate": 0.0}, r"got rate=0\.0"),
    ],
)
def test_what_does_not_fit_is_said(segmentor: Segmentor, change: dict, message: str) -> None:
    settings = {"depth": 12, "rate": 0.9, "prefix": "backbone.", "lr": 1.0, "weight_decay": 0.05} | change
    with pytest.raises(ValueError, match=message):
        layer_decay_groups(segmentor, **settings)
