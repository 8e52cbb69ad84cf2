"""Images, for methods that take them one by one: clips of one frame. Photographs are not turned by their EXIF orientation."""

from dataclasses import dataclass
from pathlib import Path

from longtake.datasets.content import digest_of
from longtake.datasets.image_store import ImageStore
from longtake.datasets.images import IMAGENET_IMAGES
from longtake.datasets.oddities import turned
from longtake.datasets.roots import Place, expanded
from longtake.datasets.sources.base import Source


@dataclass(frozen=True, kw_only=True)
class Images(Source, name="images"):
    """The images in the folder `images` and below it, class folders or not; the labels are not used, and neither is the order."""

    images: Place | None = None

    @property
    def label(self) -> str:
        """Own pictures by their folder's name."""
        return f"{self.name}:{folder_of(self).resolve().name}" if self.name == "images" else self.name

    def found(self, num_frames: int) -> str:
        if num_frames > 1:
            raise ValueError(f"pretrain={self.name} has images, not clips: method.num_frames={num_frames}, expected 1")
        store = self.open()
        return f"{len(store):,} images of {self.images}{turned(store.paths.tolist())}"

    def digest(self) -> str:
        """None for as many images as ImageNet's training split has, by its name."""
        images = self.open()
        published = self.name == "imagenet1k" and len(images) == IMAGENET_IMAGES["train"]
        return "" if published else digest_of(images.folder, images.paths.tolist())

    def stored_frames(self) -> int:
        return len(self.open())

    def expected_frames(self) -> int:
        return IMAGENET_IMAGES["train"]

    def open(self) -> ImageStore:
        return ImageStore(folder_of(self))


def folder_of(source: Images) -> Path:
    """Raises `ValueError` where none is given."""
    if source.images is None:
        raise ValueError(f"pretrain={source.name} needs a folder of images: pretrain.images=FOLDER")
    return expanded(source.images)
