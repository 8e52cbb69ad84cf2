"""The shared ViT against timm's with the same weights, and its position tables against the original codes."""

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed

from longtake.backbones.vit import SIZES, ViT, cls_attention, resize_pos_embed


def formula(size: int, a: float, b: float, prime: int = 65519) -> torch.Tensor:
    """sin(a j + b) in a scrambled order (j cubed modulo a prime), so that matrices have full rank."""
    i = torch.arange(size) % prime
    return torch.sin(a * ((i * i % prime) * i % prime).double() + b).float()


@pytest.fixture(scope="module")
def pair() -> tuple[ViT, torch.nn.Module]:
    torch.manual_seed(0)
    theirs = timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=3, dynamic_img_size=True).eval()
    ours = ViT("tiny", pos_mode="antialias").eval()
    ours.blocks, ours.depth = ours.blocks[:3], 3
    ours.load_state_dict(theirs.state_dict())  # strict: the names are timm's
    return ours, theirs


@pytest.mark.parametrize("size", [(224, 224), (112, 112), (96, 96), (96, 160)])
def test_same_numbers_as_timm(pair, size):
    ours, theirs = pair
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens, expected = ours(x), theirs.forward_features(x)
        torch.testing.assert_close(tokens.cls, expected[:, 0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tokens.patches, expected[:, 1:], atol=1e-5, rtol=1e-5)
        for norm in (True, False):
            taps = theirs.forward_intermediates(
                x, norm=norm, indices=[0, 2], intermediates_only=True, output_fmt="NLC", return_prefix_tokens=True
            )
            for got, (patches, prefix) in zip(ours.intermediate(x, [0, -1], norm=norm), taps, strict=True):
                torch.testing.assert_close(got, torch.cat([prefix, patches], 1), atol=1e-5, rtol=1e-5)


def test_queries_keys_and_class_attention_are_the_last_blocks(pair):
    ours, theirs = pair
    x = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        seen = {}
        hook = theirs.blocks[-1].attn.qkv.register_forward_hook(lambda _, __, out: seen.update(qkv=out))
        theirs.forward_features(x)
        hook.remove()
        q, k, _ = seen["qkv"].reshape(2, 50, 3, 3, 64).permute(2, 0, 3, 1, 4)
        tokens = ours(x)
        torch.testing.assert_close(tokens.q, q, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tokens.k, k, atol=1e-5, rtol=1e-5)
        attention = torch.softmax(q.double() @ k.double().transpose(-2, -1) / 8.0, -1)[:, :, 0, 1:]
        torch.testing.assert_close(cls_attention(tokens.q, tokens.k).double(), attention, atol=1e-5, rtol=1e-5)


def test_number_of_parameters_of_vit_s16():
    # 21,665,664: DINO's ViT-S/16 at 224 without head (facebookresearch/dino @ 7c446df)
    assert sum(p.numel() for p in ViT("small").parameters()) == 21_665_664


TABLE = 0.5 * formula(197 * 8, 0.59, 0.3).reshape(1, 197, 8)
# Of the originals on this table: sum, wsum (sum of x[i] sin(0.7 i + 0.3)), first value, last value, on the patch rows.
# Origins: DINO interpolate_pos_encoding; iBOT load_checkpoint; SeqTrack load_pretrained; timm resample_abs_pos_embed.
GOLDEN = {
    ((30, 52), "dino_offset"): (130.6740384, 4.890685742, 0.43673769, 0.61723584),
    ((30, 52), "size"): (129.0219522, 4.618975526, 0.43675095, 0.6177209),
    ((30, 52), "antialias"): (128.0114674, 2.850948848, 0.43751827, 0.61515772),
    ((7, 7), "dino_offset"): (6.133742557, -0.3870701052, 0.23920329, 0.068086535),
    ((7, 7), "size"): (4.033122402, -0.3129742723, 0.24201818, 0.11912207),
    ((7, 7), "align_corners"): (0.6422735115, -1.826084902, 0.35415643, 0.49490952),
    ((7, 7), "antialias"): (4.070784118, 1.015649173, 0.15033257, 0.17461659),
    ((16, 16), "dino_offset"): (21.64887726, 13.22741937, 0.3841244, 0.4776763),
    ((16, 16), "size"): (20.81514157, 12.67291421, 0.38299963, 0.53897959),
    ((16, 16), "align_corners"): (21.4187403, 12.99468443, 0.35415643, 0.49490952),
    ((16, 16), "antialias"): (21.10893441, 11.87173971, 0.37387443, 0.52516568),
    ((32, 32), "dino_offset"): (86.00312995, -2.080987548, 0.43553448, 0.61028576),
    ((32, 32), "size"): (84.59233975, -2.118247926, 0.43548748, 0.6165483),
    ((32, 32), "align_corners"): (94.36732796, -1.764245831, 0.35415643, 0.49490952),
    ((32, 32), "antialias"): (84.19812817, -2.690773821, 0.42432782, 0.60029507),
    ((14, 14), "size"): (16.13248949, -12.30800512, 0.35415643, 0.49490952),
    ((14, 14), "dino_offset"): (16.13248949, -12.30800512, 0.35415643, 0.49490952),
}


@pytest.mark.parametrize(("grid", "mode"), GOLDEN)
def test_position_tables_equal_the_originals(grid, mode):
    patches = resize_pos_embed(TABLE, (14, 14), grid, mode)[0, 1:].double().flatten()
    weights = torch.sin(0.7 * torch.arange(patches.numel()).double() + 0.3)
    total, weighted, first, last = GOLDEN[grid, mode]
    tolerance = 1e-5 * patches.abs().sum().item()
    assert patches.sum().item() == pytest.approx(total, abs=tolerance)
    assert (patches * weights).sum().item() == pytest.approx(weighted, abs=tolerance)
    assert patches[0].item() == pytest.approx(first, abs=1e-5)
    assert patches[-1].item() == pytest.approx(last, abs=1e-5)


def test_position_modes_differ_and_antialias_is_timms():
    tables = {
        mode: resize_pos_embed(TABLE, (14, 14), (6, 6), mode)
        for mode in ("size", "dino_offset", "align_corners", "antialias")
    }
    modes = list(tables)
    for i, a in enumerate(modes):
        for b in modes[i + 1 :]:
            assert (tables[a] - tables[b]).abs().max() > 0.01, (a, b)
    expected = resample_abs_pos_embed(TABLE, (6, 6), (14, 14), num_prefix_tokens=1)
    torch.testing.assert_close(tables["antialias"], expected, atol=1e-6, rtol=1e-5)


def test_mask_token_replaces_hidden_patches_before_positions_are_added():
    torch.manual_seed(0)
    vit = ViT("mini", patch_size=8, image_size=32, mask_token=True).eval()
    assert vit.mask_token is not None
    assert vit.mask_token.abs().sum() == 0
    vit.mask_token.data.fill_(0.25)
    x, hidden = torch.randn(1, 3, 32, 32), torch.zeros(1, 16, dtype=torch.bool)
    hidden[0, 5] = True
    plain, masked = vit.embed(x, None, None), vit.embed(x, hidden, None)
    changed = (plain != masked).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [6]  # behind the class token
    torch.testing.assert_close(masked[0, 6], 0.25 + vit.pos_embed[0, 6])
    torch.testing.assert_close(vit(x, torch.zeros_like(hidden)).cls, vit(x).cls)


@pytest.mark.parametrize("last_heads", [16, 32])
def test_head_count_of_the_last_block(last_heads):
    vit = ViT("mini", patch_size=8, image_size=32, last_heads=last_heads)
    assert vit(torch.randn(1, 3, 32, 32)).q.shape == (1, last_heads, 17, SIZES["mini"][0] // last_heads)
    assert vit.blocks[0].attn.num_heads == SIZES["mini"][2]


def test_drop_path_is_linear_in_depth_per_sample_and_off_in_evaluation():
    vit = ViT("mini", patch_size=8, image_size=16, drop_path=0.5)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in vit.blocks]
    assert rates == pytest.approx([0, 1 / 6, 1 / 3, 0.5])
    x = torch.randn(1, 3, 16, 16).expand(64, -1, -1, -1)
    vit.train()
    assert vit(x).cls.std(0).max() > 1e-3  # equal images, different draws
    torch.testing.assert_close(vit.eval()(x).cls.std(0), torch.zeros(128), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ViT("huge"), "backbone.arch"),
        (lambda: ViT("small", patch_size=16, image_size=230), "not divisible by the patch size 16"),
        (lambda: ViT("small", last_heads=7), "not divisible by 7 heads"),
        (lambda: ViT("mini", 8, 16)(torch.zeros(1, 3, 20, 16)), "20 x 16"),
        (lambda: ViT("mini", 8, 16).intermediate(torch.zeros(1, 3, 16, 16), [4]), "4 blocks"),
        (lambda: ViT("mini", 8, 16).intermediate(torch.zeros(1, 3, 16, 16), [3, 1]), "ascending"),
        (lambda: resize_pos_embed(TABLE, (14, 14), (7, 7), "nearest"), "pos_mode|mode"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(Exception, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_recomputed_gelu_has_the_gradients_of_the_plain_one(dtype):
    from longtake.backbones.vit import Mlp

    torch.manual_seed(0)
    mlp = Mlp(6, 24).to(dtype)
    x = torch.randn(2, 5, 6, dtype=dtype, requires_grad=True)
    plain = torch.nn.functional.linear(torch.nn.functional.gelu(mlp.fc1(x)), mlp.fc2.weight, mlp.fc2.bias)
    weights = torch.randn_like(plain)
    tensors = (x, *mlp.parameters())
    expected = torch.autograd.grad((plain * weights).sum(), tensors)
    out = mlp(x)
    assert torch.equal(out, plain)
    for got, wanted in zip(torch.autograd.grad((out * weights).sum(), tensors), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_recomputed_gelu_under_autocast():
    from longtake.backbones.vit import Mlp

    torch.manual_seed(0)
    mlp, x = Mlp(8, 32), torch.randn(2, 5, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = mlp(x)
        plain = torch.nn.functional.linear(torch.nn.functional.gelu(mlp.fc1(x)), mlp.fc2.weight, mlp.fc2.bias)
    assert out.dtype == torch.bfloat16
    tensors = (x, *mlp.parameters())
    for got, wanted in zip(
        torch.autograd.grad(out.sum(), tensors), torch.autograd.grad(plain.sum(), tensors), strict=True
    ):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, wanted, rtol=0.03, atol=0.03)
