"""Checkpoints of other codes, fabricated in their key styles: the same features come out, and nothing is ignored in silence."""

import argparse
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from longtake.backbones.foreign import load_foreign
from longtake.backbones.vit import ViT

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def teacher() -> ViT:
    return randomised(1)


@pytest.fixture(scope="module")
def student() -> ViT:
    return randomised(2)


def randomised(seed: int) -> ViT:
    """No two tensors alike, biases included."""
    torch.manual_seed(seed)
    encoder = ViT("tiny", 16, 64)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return encoder.eval()


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def renamed(state: State, *rules: tuple[str, str]) -> State:
    out = {}
    for name, value in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        out[name] = value
    return out


HEAD = {"head.mlp.0.weight": torch.zeros(4, 4), "head.last_layer.weight_v": torch.zeros(2, 2)}
MM = (
    (r"^blocks", "layers"), (r"\.norm(\d)", r".ln\1"), (r"^norm\.", "ln1."), (r"\.mlp\.fc1", ".ffn.layers.0.0"),
    (r"\.mlp\.fc2", ".ffn.layers.1"), (r"patch_embed\.proj", "patch_embed.projection"),
)  # fmt: skip
MMSEG = (*MM, (r"attn\.qkv\.", "attn.attn.in_proj_"), (r"attn\.proj", "attn.attn.out_proj"))
TORCHVISION = (
    (r"^blocks\.(\d+)", r"encoder.layers.encoder_layer_\1"), (r"\.norm(\d)", r".ln_\1"), (r"^norm\.", "encoder.ln."),
    (r"\.mlp\.fc1", ".mlp.0"), (r"\.mlp\.fc2", ".mlp.3"), (r"^patch_embed\.proj", "conv_proj"),
    (r"attn\.qkv\.", "self_attention.in_proj_"), (r"\.attn\.proj", ".self_attention.out_proj"),
    (r"^pos_embed", "encoder.pos_embedding"), (r"^cls_token", "class_token"),
)  # fmt: skip


def dino(teacher: State, student: State) -> dict:
    """DINO, DoRA, iBOT and AttMask as they save while they train."""
    return {
        "student": prefixed("module.", prefixed("backbone.", student) | HEAD),
        "teacher": prefixed("backbone.", teacher) | HEAD,
        "optimizer": {"state": {}},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", lr=0.0005),
        "dino_loss": {"center": torch.zeros(1, 8)},
    }


STYLES: dict[str, Callable[[State, State], dict]] = {
    "dino": dino,
    "ibot extracted": lambda t, s: {"state_dict": t | {"masked_embed": torch.zeros(1, 192)}},
    "solo-learn": lambda t, s: {"state_dict": prefixed("backbone.", s) | prefixed("momentum_backbone.", t)
                                | {"classifier.weight": torch.zeros(10, 192)}, "epoch": 3},
    "lightly": lambda t, s: {"state_dict": prefixed("student_backbone.vit.", s) | prefixed("teacher_backbone.vit.", t)},
    "timm": lambda t, s: t | {"head.weight": torch.zeros(10, 192), "head.bias": torch.zeros(10)},
    "mmpretrain": lambda t, s: {"state_dict": prefixed("backbone.", renamed(t, *MM)), "meta": {"epoch": 1}},
    "mmsegmentation": lambda t, s: renamed(t, *MMSEG),
    "torchvision": lambda t, s: renamed(t, *TORCHVISION) | {"heads.head.weight": torch.zeros(10, 192)},
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("style", STYLES)
def test_every_style_gives_the_teacher_s_features(
    teacher: ViT, student: ViT, tmp_path: Path, style: str, suffix: str
) -> None:
    content = STYLES[style](teacher.state_dict(), student.state_dict())
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        torch.save(content, path)
    else:
        flat = content.get("state_dict", content)
        if style == "dino":
            pytest.skip("a safetensors file has no entries side by side")
        save_file({name: value.clone().contiguous() for name, value in flat.items()}, path)
    loaded = load_foreign(path, pos_mode="size")
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(loaded.encoder(x), teacher(x))
    assert "150 of 150 tensors" in loaded.report
    assert "tiny/16" in loaded.report


def test_the_student_when_it_is_asked_for(teacher: ViT, student: ViT, tmp_path: Path) -> None:
    torch.save(dino(teacher.state_dict(), student.state_dict()), tmp_path / "a.pth")
    loaded = load_foreign(tmp_path / "a.pth", key="student")
    assert torch.equal(loaded.encoder.cls_token, student.cls_token)
    assert loaded.encoder.pos_mode == "dino_offset"
    report = load_foreign(tmp_path / "a.pth").report
    assert report.startswith("a.pth: 150 of 150 tensors from teacher backbone, names of timm; tiny/16")


def test_timm_s_own_model_has_the_same_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3).eval()
    torch.save(model.state_dict(), tmp_path / "a.pth")
    encoder = load_foreign(tmp_path / "a.pth").encoder
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        tokens = encoder(x)
        torch.testing.assert_close(
            torch.cat([tokens.cls[:, None], tokens.patches], 1), model.forward_features(x), atol=1e-5, rtol=1e-4
        )


DINO_FAMILY = (
    "positions by dino_offset (as in DINO, iBOT, AttMask and DoRA; another code's: checkpoint_pos_mode=size or "
)
HEAD_OF_TIMM = {"head.weight": torch.zeros(10, 192), "head.bias": torch.zeros(10)}
POSITIONS: dict[str, tuple[Callable[[State, State], dict], str | None, str]] = {
    "DINO, full": (dino, None, DINO_FAMILY),
    "DINO, full, student": (dino, "student", DINO_FAMILY),
    "DINO, flat": (lambda t, s: t, None, DINO_FAMILY),
    "DINO, the teacher alone": (lambda t, s: prefixed("backbone.", t) | HEAD, None, DINO_FAMILY),
    "DINO, the student alone": (lambda t, s: prefixed("module.backbone.", t) | HEAD, None, DINO_FAMILY),
    "iBOT, extracted": (STYLES["ibot extracted"], None, DINO_FAMILY),
    "of several GPUs": (lambda t, s: {"state_dict": prefixed("module.", t)}, None, DINO_FAMILY),
    "compiled": (lambda t, s: prefixed("_orig_mod.", t), None, DINO_FAMILY),
    "solo-learn": (STYLES["solo-learn"], None, "antialias (as in timm"),
    "lightly": (STYLES["lightly"], None, "antialias (as in timm"),
    "timm": (STYLES["timm"], None, "antialias (as in timm"),
    "timm, of a training": (lambda t, s: {"state_dict_ema": t}, None, "antialias (as in timm"),
    "DeiT": (lambda t, s: {"model": t | HEAD_OF_TIMM}, None, "antialias (as in timm"),
    "MAE": (lambda t, s: {"model": t}, None, "size (as in MAE"),
    "mmpretrain": (STYLES["mmpretrain"], None, "size (as in mmpretrain"),
    "mmsegmentation": (STYLES["mmsegmentation"], None, "size (as in mmsegmentation"),
    "torchvision": (STYLES["torchvision"], None, "align_corners (as in torchvision"),
}


@pytest.mark.parametrize("kind", POSITIONS)
def test_each_code_has_one_rule_for_positions_and_it_is_said(
    teacher: ViT, student: ViT, tmp_path: Path, kind: str
) -> None:
    make, key, said = POSITIONS[kind]
    torch.save(make(teacher.state_dict(), student.state_dict()), tmp_path / "a.pth")
    loaded = load_foreign(tmp_path / "a.pth", key)
    assert said in loaded.report
    assert f"positions by {loaded.encoder.pos_mode} " in loaded.report
    asked = load_foreign(tmp_path / "a.pth", key, "align_corners")
    assert asked.report.endswith("positions by align_corners (as asked for)")


COMPILED_BLOCKS = ((r"^blocks\.(\d+)\.", r"blocks.\1._orig_mod."), (r"\.mlp\.", "._checkpoint_wrapped_module.mlp."))
WRAPPERS: dict[str, Callable[[State], State]] = {
    "DDP": lambda t: prefixed("module.", t),
    "torch.compile": lambda t: prefixed("_orig_mod.", t),
    "both": lambda t: prefixed("module._orig_mod.", t),
    "of a teacher": lambda t: prefixed("teacher._orig_mod.backbone.", t),
    "of each block": lambda t: renamed(t, *COMPILED_BLOCKS),
    "bfloat16": lambda t: {name: value.bfloat16() for name, value in t.items()},
    "float16": lambda t: {name: value.half() for name, value in t.items()},
    "float64": lambda t: {name: value.double() for name, value in t.items()},
    "numbers for names": lambda t: {**t, 3: torch.zeros(1)},  # type: ignore[dict-item]
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_what_stands_around_an_encoder_does_not_matter(teacher: ViT, tmp_path: Path, kind: str) -> None:
    torch.save(WRAPPERS[kind](teacher.state_dict()), tmp_path / "a.pth")
    loaded = load_foreign(tmp_path / "a.pth").encoder
    loose = {"bfloat16": 4e-3, "float16": 5e-4}.get(kind, 0.0)
    for name, value in teacher.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, value, atol=loose and 1e-7, rtol=loose)


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


BAD: dict[str, tuple[Callable[[State], object], str]] = {
    "missing": (lambda t: without(t, "blocks.3.attn.qkv.bias"), r"1 tensors .* missing: blocks\.3\.attn\.qkv\.bias"),
    "registers": (lambda t: t | {"reg_token": torch.zeros(1, 4, 192)}, "1 tensors would be ignored.*reg_token"),
    "layer scale": (lambda t: t | {"blocks.0.ls1.gamma": torch.zeros(192)}, r"would be ignored.*blocks\.0\.ls1\.gamma"),
    "width": (
        lambda t: t | {"patch_embed.proj.weight": torch.zeros(200, 3, 16, 16)},
        "a ViT of width 200 and 12 blocks",
    ),
    "shape": (lambda t: t | {"norm.weight": torch.zeros(7)}, "size mismatch for norm.weight"),
    "no square": (lambda t: t | {"pos_embed": torch.zeros(1, 18, 192)}, "17 positions are no square grid"),
    "another model": (lambda t: {"conv1.weight": torch.zeros(1)}, "no ViT in it"),
    "no tensors": (lambda t: {"epoch": 3}, "no tensors under teacher or .*there are: epoch"),
    "a list": (lambda t: [1, 2], "got a list, expected a dictionary"),
    "NaN": (
        lambda t: t | {"blocks.2.norm1.bias": torch.full((192,), float("nan"))},
        r"tensor blocks\.2\.norm1\.bias has 192 of 192 values that are not finite",
    ),
    "Inf": (
        lambda t: t | {"norm.weight": torch.tensor([1.0] * 191 + [float("inf")])},
        r"tensor norm\.weight has 1 of 192 values",
    ),
    "too large": (
        lambda t: t | {"norm.weight": torch.full((192,), 1e300, dtype=torch.float64)},
        r"tensor norm\.weight has 192 of 192",
    ),
    "integers": (
        lambda t: {name: value.to(torch.int8) for name, value in t.items()},
        "is of int8, expected floating-point numbers",
    ),
    "complex": (lambda t: t | {"norm.bias": torch.zeros(192, dtype=torch.complex64)}, "norm.bias is of complex64"),
    "grey": (
        lambda t: t | {"patch_embed.proj.weight": torch.zeros(192, 1, 16, 16)},
        r"patch embedding of \[192, 1, 16, 16\]",
    ),
    "linear patches": (
        lambda t: t | {"patch_embed.proj.weight": torch.zeros(192, 768)},
        r"patch embedding of \[192, 768\]",
    ),
    "oblong patches": (lambda t: t | {"patch_embed.proj.weight": torch.zeros(192, 3, 16, 8)}, r"\[192, 3, 16, 8\]"),
    "video patches": (lambda t: t | {"patch_embed.proj.weight": torch.zeros(192, 3, 2, 16, 16)}, "patch embedding of"),
    "flat positions": (lambda t: t | {"pos_embed": torch.zeros(17, 192)}, r"position table of \[17, 192\]"),
    "no positions": (lambda t: t | {"pos_embed": torch.zeros(1, 1, 192)}, r"position table of \[1, 1, 192\]"),
    "no class token": (lambda t: t | {"pos_embed": torch.zeros(1, 16, 192)}, "15 positions are no square grid"),
    "a block less": (
        lambda t: {n: v for n, v in t.items() if not n.startswith("blocks.5.")},
        "a ViT of width 192 and 11 blocks",
    ),
    "names of several kinds": (lambda t: {3: 1, "epoch": 2}, "no tensors under teacher or .*there are: 3, epoch"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(teacher: ViT, tmp_path: Path, case: str) -> None:
    make, message = BAD[case]
    torch.save(make(teacher.state_dict()), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth.*{message}"):
        load_foreign(tmp_path / "a.pth")


class Evil:
    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit('code was run')",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"teacher": Evil()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "c.pth").write_bytes(b"")
    (tmp_path / "d.safetensors").write_bytes(b"not tensors")
    for name in ("a.pth", "b.pth", "c.pth", "d.safetensors"):
        with pytest.raises(ValueError, match=f"{name}: cannot be read safely"):
            load_foreign(tmp_path / name)
    with pytest.raises(ValueError, match="there is no such file"):
        load_foreign(tmp_path / "e.pth")
