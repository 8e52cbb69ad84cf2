"""Frozen features: which tokens, in which order, and an encoder left as it was found."""

import pytest
import torch

from longtake.backbones.vit import ViT
from longtake.datasets.pictures import UnreadableImage
from longtake.downstream.features import pooled_features
from longtake.downstream.knn import KNN


@pytest.fixture
def evaluation(image_root) -> KNN:
    return KNN(preset="test", root=str(image_root), size=16, resize=16, batch_size=5, progress=False)


def test_one_block_is_the_vits_final_class_token():
    vit = ViT("mini", patch_size=16, image_size=32).eval()
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(pooled_features(vit, x), vit(x).cls)


def test_blocks_stand_side_by_side_and_the_mean_patch_comes_last():
    vit = ViT("mini", patch_size=16, image_size=32).eval()
    x = torch.randn(2, 3, 32, 32)
    before_last, last = vit.intermediate(x, [vit.depth - 2, vit.depth - 1])
    expected = torch.cat([before_last[:, 0], last[:, 0], last[:, 1:].mean(1)], dim=1)
    torch.testing.assert_close(pooled_features(vit, x, num_blocks=2, avgpool=True), expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_row_i_is_image_i(evaluation, encoder, num_workers):
    evaluation.num_workers = num_workers
    images, _ = evaluation.open()
    features, labels = evaluation.extract(encoder, images)
    encoder.eval()
    alone = torch.cat([pooled_features(encoder, images[i][0][None]) for i in range(len(images))])
    torch.testing.assert_close(features, alone)
    assert labels.tolist() == images.targets


def test_encoder_is_left_as_it_was_found(evaluation, encoder):
    encoder.train()
    encoder.norm.eval()
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    images, _ = evaluation.open()
    first, _ = evaluation.extract(encoder, images)
    second, _ = evaluation.extract(encoder, images)
    assert torch.equal(first, second), "dropout was off"
    assert encoder.training
    assert encoder.dropout.training
    assert not encoder.norm.training
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items())
    assert not first.requires_grad


def test_encoder_is_restored_after_an_error(evaluation, encoder, tmp_path):
    for label in ("a", "b"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / "0.png").write_bytes(b"no image")
    evaluation.root, evaluation.test_split = str(tmp_path), "train"
    images, _ = evaluation.open()
    encoder.train()
    with pytest.raises(UnreadableImage):
        evaluation.extract(encoder, images)
    assert encoder.training


def test_progress_goes_to_stderr_and_can_be_turned_off(evaluation, encoder, capsys):
    images, _ = evaluation.open()
    evaluation.extract(encoder, images)
    silent = capsys.readouterr()
    assert (silent.out, silent.err) == ("", "")
    evaluation.progress = True
    evaluation.extract(encoder, images)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "72/72" in shown.err


def test_check_names_a_missing_split_and_refuses_a_padded_crop(image_root, tmp_path):
    (message,) = KNN(preset="test", root=str(image_root), test_split="test").check()
    assert str(image_root / "test") in message
    with pytest.raises(ValueError, match="below size"):
        KNN(preset="test", root=str(image_root), size=64, resize=32).check()
    assert KNN(preset="test", root=str(image_root)).check() == []
