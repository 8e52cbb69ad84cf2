"""Augmented images for fine-tuning, each view a function of (seed, epoch, place in the epoch) whichever worker makes it.

The augmentations are timm's, those of DeiT (https://arxiv.org/abs/2012.12877): random resized crop, flip, RandAugment
(https://arxiv.org/abs/1909.13719), random erasing (https://arxiv.org/abs/1708.04896), and of a whole batch mixup
(https://arxiv.org/abs/1710.09412) and CutMix (https://arxiv.org/abs/1905.04899). timm draws from three global generators;
`seeded` sets them and puts them back.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from longtake.datasets.labelled import LabelledImages
from longtake.datasets.pictures import IMAGENET_MEAN, IMAGENET_STD
from longtake.downstream.drawing import seeded

Transform = Callable[[Image.Image], Float[Tensor, "3 height width"]]


def augmentation(
    size: int, crop_scale: Sequence[float], rand_augment: str | None, erasing: float, flip: float = 0.5
) -> Transform:
    """timm's training transform, bicubic, ImageNet's mean and std; `rand_augment` is its code (`rand-m9-mstd0.5-inc1`) or None.

    Erased pixels are noise of their own. The recipes' colour jitter has no part in it: timm leaves it out beside RandAugment.
    """
    from timm.data import auto_augment
    from timm.data.transforms_factory import transforms_imagenet_train

    transform = transforms_imagenet_train(
        size,
        scale=(crop_scale[0], crop_scale[1]),
        hflip=flip,
        color_jitter=0.0,
        auto_augment=rand_augment,
        interpolation="bicubic",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        re_prob=erasing,
        re_mode="pixel",
    )
    for step in transform.transforms:
        for op in getattr(step, "ops", ()):
            if op.aug_fn is auto_augment.posterize:
                op.aug_fn = posterize
    return transform


def posterize(image: Image.Image, bits_to_keep: int, **_: object) -> Image.Image:
    """timm's, which asks for 0 bits at full magnitude (one view in some hundred): black, as Pillow made it before it refused."""
    from timm.data import auto_augment

    return auto_augment.posterize(image, bits_to_keep) if bits_to_keep else Image.new(image.mode, image.size)


class Transformed(Dataset):
    """Item p is (view, label) of image `order[p]`; random draws depend on (`key`, p) alone."""

    def __init__(
        self, images: LabelledImages, transform: Transform, order: Sequence[int], key: tuple[int, ...] = ()
    ) -> None:
        self.images, self.transform, self.order, self.key = images, transform, order, key

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> tuple[Float[Tensor, "3 height width"], int]:
        index = self.order[place]
        image = self.images.image(index)
        with seeded(*self.key, place):
            return self.transform(image), int(self.images.labels[index])


def epoch_order(num_images: int, length: int, repeats: int, *key: int) -> list[int]:
    """The `length` images of an epoch: shuffled, each `repeats` times in a row (repeated augmentation, as in DeiT's sampler),
    so that an epoch of `num_images` views sees a third of the images for three repeats."""
    shuffled = np.random.default_rng(key).permutation(num_images)
    return np.repeat(shuffled, repeats)[:length].tolist()


def mixed(
    x: Float[Tensor, "b 3 height width"],
    labels: Int[Tensor, "b"],
    num_classes: int,
    mixup: float,
    cutmix: float,
    smoothing: float,
) -> tuple[Float[Tensor, "b 3 height width"], Float[Tensor, "b c"]]:
    """Images and soft targets, one draw of timm's Mixup for all b (an even number); changes `x`. Zeros mix nothing."""
    from timm.data.mixup import Mixup, mixup_target

    if not (mixup or cutmix):
        return x, mixup_target(labels, num_classes, 1.0, smoothing)
    mixing = Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=smoothing, num_classes=num_classes)
    return mixing(x, labels)
