"""What can be learnt from the mini world's pictures, and what cannot: `pytest -m slow -s tests/datasets/test_mini_bounds.py`.

Prints the figures quoted in `datasets/mini.py` and asserts the bounds they must keep. Uses the world in the data root and
renders it there when it is missing. About ten minutes on two cores.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from longtake.datasets.mini.world import CLASSES, prepare
from longtake.datasets.mini.worlds import WORLDS
from longtake.datasets.roots import data_root

pytestmark = pytest.mark.slow

NUM_NEIGHBOURS = 20
NUM_EPOCHS = 40

Split = tuple[Tensor, Tensor]


def load_split(folder: Path, split: str) -> Split:
    """Images (n, 3, h, w) uint8 and labels (n,)."""
    images, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / "imagefolder" / split / name).iterdir()):
            images.append(torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1))
            labels.append(label)
    return torch.stack(images), torch.tensor(labels)


@pytest.fixture(scope="module")
def splits() -> dict[str, Split]:
    folder = prepare(WORLDS["mini"], data_root())
    return {split: load_split(folder, split) for split in ("train", "test")}


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """Cosine k-NN with a plain vote; a tie goes to the class with the larger sum of similarities."""
    similarity, index = (F.normalize(test, dim=1) @ F.normalize(train, dim=1).T).topk(NUM_NEIGHBOURS)
    votes = F.one_hot(train_labels[index], len(CLASSES))
    score = votes.sum(1) + 1e-3 * (votes * similarity[..., None]).sum(1)
    return 100 * (score.argmax(1) == test_labels).float().mean().item()


def histograms(images: Tensor) -> Tensor:
    """Joint RGB histogram with 8 bins a channel, square root taken (Hellinger kernel), (n, 512)."""
    bins = (images.long() // 32).flatten(2)
    index = bins[:, 0] * 64 + bins[:, 1] * 8 + bins[:, 2]
    return torch.stack([torch.bincount(row, minlength=512).float().sqrt() for row in index])


def normalized(images: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (images / 255 - mean[:, None, None]) / std[:, None, None]


@torch.inference_mode()
def random_encoder_accuracy(splits: dict[str, Split], seed: int) -> float:
    torch.manual_seed(seed)
    vit = VisionTransformer(img_size=64, patch_size=8, embed_dim=192, depth=6, num_heads=3, num_classes=0).eval()
    features = {
        split: torch.cat([vit.forward_features(normalized(batch))[:, 0] for batch in images.split(256)])
        for split, (images, _) in splits.items()
    }
    return knn_accuracy(features["train"], splits["train"][1], features["test"], splits["test"][1])


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + super().forward(x))


def small_resnet() -> nn.Sequential:
    def conv(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]

    layers: list[nn.Module] = [*conv(3, 32), nn.ReLU(), nn.MaxPool2d(2)]
    for inputs, outputs in ((32, 64), (64, 128), (128, 256)):
        layers += [*conv(inputs, outputs), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [Residual(*conv(outputs, outputs), nn.ReLU(), *conv(outputs, outputs))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, len(CLASSES)))


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random flip, scale, shear and shift (one affine warp), order of the colour channels, contrast and brightness."""
    b = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(b, generator=generator)

    theta = torch.zeros(b, 2, 3)
    scale = uniform(0.65, 1.15)
    theta[:, 0, 0] = scale * uniform(0.85, 1.15) * torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = scale
    theta[:, 0, 1], theta[:, 1, 0] = uniform(-0.12, 0.12), uniform(-0.12, 0.12)
    theta[:, :, 2] = torch.stack([uniform(-0.25, 0.25), uniform(-0.25, 0.25)], dim=1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    order = torch.rand(b, 3, generator=generator).argsort(1)
    images = images.gather(1, order[:, :, None, None].expand_as(images))
    return images * uniform(0.6, 1.4)[:, None, None, None] + uniform(-0.4, 0.4)[:, None, None, None]


def supervised_accuracy(splits: dict[str, Split]) -> float:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images, labels = splits["train"]
    images = normalized(images)
    model = small_resnet().to(memory_format=torch.channels_last)
    batch_size = 64
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    steps = NUM_EPOCHS * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for _ in range(NUM_EPOCHS):
        for index in torch.randperm(len(images), generator=generator).split(batch_size)[: len(images) // batch_size]:
            batch = augmented(images[index], generator).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(batch), labels[index], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    test, test_labels = splits["test"]
    with torch.inference_mode():
        predicted = torch.cat([model(normalized(batch)) for batch in test.split(256)]).argmax(1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(confusion, (test_labels.numpy(), predicted.numpy()), 1)
    for name, row in zip(CLASSES, confusion, strict=True):
        print(f"{name:10}", " ".join(f"{count:3d}" for count in row))
    return 100 * (predicted == test_labels).float().mean().item()


def test_class_is_in_the_shape_not_in_colour_or_untrained_features(splits: dict[str, Split]) -> None:
    train, test = splits["train"], splits["test"]
    histogram = knn_accuracy(histograms(train[0]), train[1], histograms(test[0]), test[1])
    encoders = [random_encoder_accuracy(splits, seed) for seed in range(3)]
    supervised = supervised_accuracy(splits)
    print(f"chance {100 / len(CLASSES):.1f}, colour histogram k-NN {histogram:.1f}")
    print("random encoder k-NN", *(f"{accuracy:.1f}" for accuracy in encoders))
    print(f"supervised {supervised:.1f}")
    assert supervised > 80
    assert histogram < supervised / 3
    assert max(encoders) < supervised / 3
