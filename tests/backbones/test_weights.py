import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from longtake.backbones.vit import ViT
from longtake.backbones.weights import load_encoder, read_header, save_encoder, weights_hash


@pytest.fixture
def encoder() -> ViT:
    torch.manual_seed(0)
    return ViT("mini", patch_size=8, image_size=32, last_heads=16, mask_token=True, pos_mode="dino_offset").eval()


def test_round_trip_keeps_features_architecture_and_provenance(encoder, tmp_path):
    path = save_encoder(encoder, tmp_path / "deep" / "encoder.safetensors", {"method": "dino", "frames_seen": 12})
    loaded, x = load_encoder(path), torch.randn(2, 3, 40, 24)
    torch.testing.assert_close(loaded(x).cls, encoder(x).cls, atol=0, rtol=0)
    assert read_header(path)[1] == {"method": "dino", "frames_seen": 12}
    assert [p.name for p in path.parent.iterdir()] == ["encoder.safetensors"]  # no temporary file left


def test_timm_loads_the_file_strictly(tmp_path):
    torch.manual_seed(0)
    encoder, x = ViT("tiny").eval(), torch.randn(1, 3, 224, 224)
    tensors = load_file(save_encoder(encoder, tmp_path / "tiny.safetensors", {}))
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    model.load_state_dict(tensors, strict=True)
    torch.testing.assert_close(model.forward_features(x)[:, 0], encoder(x).cls, atol=1e-5, rtol=1e-5)


def test_a_missing_tensor_is_an_error(encoder, tmp_path):
    path = save_encoder(encoder, tmp_path / "e.safetensors", {})
    tensors = load_file(path)
    del tensors["blocks.3.attn.qkv.weight"]
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    save_file(tensors, path, metadata=header)
    with pytest.raises(ValueError, match=r"blocks\.3\.attn\.qkv\.weight"):
        load_encoder(path)


def test_foreign_and_absent_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        load_encoder(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_encoder(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="expected an encoder written by longtake"):
        load_encoder(tmp_path / "other.safetensors")


def test_hash_follows_the_weights(encoder):
    before = weights_hash(encoder)
    assert weights_hash(encoder) == before
    encoder.norm.bias.data[0] += 1e-6
    assert weights_hash(encoder) != before


def rewritten(path, change, header=None):
    """The file with other tensors, or another header, as of the time before there were sums."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found = {key: value for key, value in file.metadata().items() if key not in ("tensors", "header")}
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={**found, **(header or {})})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t["blocks.1.attn.qkv.weight"].__setitem__((0, 0), float("nan")),
            "blocks.1.attn.qkv.weight has 1 of 49152",
        ),
        (lambda t: t["norm.bias"].fill_(float("-inf")), "tensor norm.bias has 128 of 128 values that are not finite"),
        (lambda t: t.update({"norm.bias": torch.zeros(128, dtype=torch.int32)}), "norm.bias is of int32"),
        (lambda t: t.update({"norm.bias": torch.zeros(7)}), "size mismatch for norm.bias"),
        (lambda t: t.update({"else": torch.zeros(7)}), "else"),
    ],
)
def test_tensors_that_are_none_are_named_with_the_file(encoder, tmp_path, change, message):
    path = rewritten(save_encoder(encoder, tmp_path / "e.safetensors", {}), change)
    with pytest.raises(ValueError, match=rf"e\.safetensors: .*{message}"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("{", "damaged: the header is not what was written"),
        ("[1]", "damaged: the header is not what was written"),
        ('{"arch": "huge"}', "no encoder has the architecture"),
        ('{"depth": 3}', "no encoder has the architecture"),
        ('{"arch": "mini", "patch_size": 0}', "no encoder has the architecture"),
        ('{"arch": "mini", "patch_size": "8"}', "no encoder has the architecture"),
    ],
)
def test_a_damaged_header_is_a_sentence(encoder, tmp_path, architecture, message):
    path = rewritten(
        save_encoder(encoder, tmp_path / "e.safetensors", {}), lambda t: None, {"architecture": architecture}
    )
    with pytest.raises(ValueError, match=rf"e\.safetensors: {message}"):
        load_encoder(path)


def test_half_precision_is_read_as_what_it_was(encoder, tmp_path):
    path = save_encoder(encoder, tmp_path / "e.safetensors", {})
    rewritten(path, lambda t: t.update({name: value.bfloat16() for name, value in t.items()}))
    assert {value.dtype for value in load_encoder(path).state_dict().values()} == {torch.float32}


def places(content: bytes) -> list[int]:
    """Bytes all over a file, most of them in its header."""
    header = 8 + int.from_bytes(content[:8], "little")
    return [*range(0, header, 37), *range(header, len(content), len(content) // 40)]


def test_no_flipped_bit_of_an_encoder_is_taken(encoder, tmp_path):
    path = save_encoder(encoder, tmp_path / "e.safetensors", {"method": "dino", "epochs": 3})
    content, known = path.read_bytes(), (weights_hash(load_encoder(path)), read_header(path))
    for place in places(content):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        try:
            found = weights_hash(load_encoder(path)), read_header(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017 - in a loop
        else:
            assert found == known, place


def test_an_encoder_from_before_there_were_sums_is_read(encoder, tmp_path):
    from safetensors import safe_open

    path = save_encoder(encoder, tmp_path / "e.safetensors", {"method": "dino"})
    with safe_open(path, framework="pt") as file:
        header = {key: value for key, value in file.metadata().items() if key not in ("tensors", "header")}
    save_file(load_file(path), tmp_path / "old.safetensors", metadata=header)
    assert weights_hash(load_encoder(tmp_path / "old.safetensors")) == weights_hash(load_encoder(path))
    save_file(
        load_file(path), tmp_path / "odd.safetensors", metadata={**header, "architecture": '{"arch": "mini", "x": 1}'}
    )
    with pytest.raises(ValueError, match="no encoder has the architecture"):
        load_encoder(tmp_path / "odd.safetensors")
