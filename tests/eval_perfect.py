"""How to be perfect at each evaluation: an encoder that sees the truth, or true predictions in the place of the network's."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from eval_cases import COLOURS, vit
from PIL import Image
from pycocotools import mask as run_lengths
from torch import Tensor, nn

from longtake.backbones.vit import Tokens
from longtake.datasets.davis import DAVIS as DAVISFolder
from longtake.datasets.davis import Sequence as Video
from longtake.datasets.pictures import normalized
from longtake.datasets.voc import Annotated, write_voc
from longtake.downstream import mm
from longtake.downstream.cascade_mask_rcnn import CascadeMaskRCNN
from longtake.downstream.contract import MakeEvaluation
from longtake.downstream.davis import DAVIS
from longtake.downstream.seqtrack_tracker import Followed, SequenceTracker
from longtake.downstream.seqtrack_train import Training
from longtake.downstream.upernet import UperNet
from longtake.downstream.video_kmeans import VideoKMeans

Metrics = dict[str, float]
# Attention's mass on the background, of each head: one is right where 60 % are kept, one and the heads' mean where 80 % are.
BACKGROUND_MASS = (0.37, 0.17, 0.01)


class Seeing(nn.Module):
    """Tokens are one-hot: the colour of COLOURS that a patch is nearest to. Keys and queries tell objects from the ground."""

    embed_dim, depth = len(COLOURS), 1

    def __init__(self, patch_size: int = 8) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.blocks = nn.ModuleList([nn.Linear(1, 1)])  # what fine-tuning looks for
        self.blocks[0].drop_path = nn.Identity()
        self.register_buffer("colours", normalized(torch.from_numpy(COLOURS.T[..., None].copy()))[..., 0].T)

    def forward(self, x: Tensor, *, pos_mode: str | None = None) -> Tokens:
        patches = F.avg_pool2d(x, self.patch_size).flatten(2).transpose(1, 2)
        nearest = torch.cdist(patches, self.colours[None].expand(len(x), -1, -1)).argmin(-1)  # (b, n)
        tokens = F.one_hot(nearest, len(COLOURS)).float()
        keys = torch.stack([self.keys_of(image > 0) for image in nearest])  # (b, h, n, 1)
        everything = torch.cat([torch.ones_like(keys[:, :, :1]), keys], 2)
        return Tokens(tokens.mean(1), tokens, everything, everything)

    def keys_of(self, objects: Tensor) -> Tensor:
        """Half of what the logits of objects and ground differ by, with either sign."""
        count = max(int(objects.sum()), 1)
        ratio = max(len(objects) - count, 1) / count
        halves = [math.log((1 - mass) / mass * ratio) / 2 for mass in BACKGROUND_MASS]
        return torch.tensor(halves)[:, None, None] * (2.0 * objects - 1)[None, :, None]

    def intermediate(self, x: Tensor, blocks: Sequence[int], norm: bool = True) -> list[Tensor]:
        tokens = self(x)
        return [torch.cat([tokens.cls[:, None], tokens.patches], 1) for _ in blocks]


def plain_colours(root: Path) -> Path:
    """Three classes of pictures of one colour."""
    for split, label, i in np.ndindex(2, 3, 8):
        folder = root / ("train", "val")[split] / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.broadcast_to(COLOURS[label + 1], (16, 16, 3)).copy()).save(folder / f"{i}.png")
    return root


def quarters(root: Path) -> Path:
    """Pictures of 32 pixels with an object in one quarter, which JPEG keeps apart."""
    images = []
    for n in range(6):
        mask = np.zeros((32, 32), np.uint8)
        y, x = 16 * (n % 2), 16 * (n // 3)
        mask[y : y + 16, x : x + 16] = 1 + n % 3
        for split in ("train", "val"):
            box, lists = np.array([[x, y, x + 16, y + 16]]), [f"Segmentation/{split}"]
            images.append(Annotated(f"{split}{n}", COLOURS[mask], box, ["thing"], mask, lists=lists))
    return write_voc(root, images).root


def classify(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch, **settings: Any) -> Metrics:
    return make(root=str(plain_colours(folder / "data")), **settings).evaluate(Seeing(), folder)


def linear(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    return classify(make, folder, patch, num_blocks=1, learning_rates=[30.0], epochs=4)


def finetune(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    plain = {"mixup": 0.0, "cutmix": 0.0, "erasing": 0.0, "rand_augment": None}
    return classify(make, folder, patch, lr=0.3, epochs=4, warmup_epochs=0, **plain)


def lost(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    return make().evaluate(Seeing(), folder)


def dense_knn(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    """A patch for every pixel: nothing is interpolated."""
    return make(root=str(quarters(folder / "data"))).evaluate(Seeing(patch_size=1), folder)


def davis(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    task = make()

    def segment(self: DAVIS, encoder: object, sequence: Video, first: np.ndarray) -> Iterator[np.ndarray]:
        yield from truth_of(task.root, sequence)[1:]

    patch.setattr(DAVIS, "segment", segment)
    return task.evaluate(vit(), folder)


def video_kmeans(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    """The true masks under other numbers."""
    task = make()

    def clusters(self: VideoKMeans, encoder: object, sequence: Video, size: tuple[int, int], k: int) -> np.ndarray:
        return (truth_of(task.root, sequence) + 1) % np.uint8(k)

    patch.setattr(VideoKMeans, "clusters", clusters)
    return task.evaluate(vit(), folder)


def own_video(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    """Patches of as many directions as there are clusters, equally many of each, in the same places; one map for all heads."""

    class Quarters(Seeing):
        embed_dim = 4

        def forward(self, x: Tensor, *, pos_mode: str | None = None) -> Tokens:
            n = x.shape[-1] * x.shape[-2] // self.patch_size**2
            patches = torch.eye(4)[torch.arange(n) % 4].expand(len(x), -1, -1)
            same = torch.ones(len(x), 2, n + 1, 1)
            return Tokens(patches.mean(1), patches, same, same)

    return make(num_clusters=4).evaluate(Quarters(), folder)


def truth_of(root: str, sequence: Video) -> np.ndarray:
    truth = DAVISFolder(Path(root)).truth(sequence)
    return np.where(truth == 255, 0, truth).astype(np.uint8)


class Maps:
    """What mmsegmentation answers."""

    def __init__(self, mask: np.ndarray) -> None:
        self.pred_sem_seg = self
        self.data = torch.from_numpy(np.where(mask == 255, 0, mask).astype(np.int64))[None]


def upernet(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    def predictions(model: object, samples: Any, mine: Sequence[int], workers: int) -> Iterator[tuple[int, Maps]]:
        for index in mine:
            path = Path(samples.get_data_info(index)["seg_map_path"])
            yield index, Maps(np.array(Image.open(path)) - np.uint8(1))

    folder.mkdir(exist_ok=True)
    patch.setattr(UperNet, "tuned", lambda *_: None)
    patch.setattr(mm, "predictions", predictions)
    return make().evaluate(vit(), folder)


def cascade_mask_rcnn(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    def detections(self: CascadeMaskRCNN, model: object, data: Any, *_: object) -> list[dict[str, Any]]:
        found = []
        for true in data.read(self.test_split)["annotations"]:
            rle = run_lengths.frPyObjects(true["segmentation"], *true["segmentation"]["size"])
            kept = {key: true[key] for key in ("image_id", "category_id", "bbox")}
            found.append({**kept, "score": 1.0, "segmentation": {**rle, "counts": rle["counts"].decode()}})
        return found

    folder.mkdir(exist_ok=True)
    patch.setattr(CascadeMaskRCNN, "tuned", lambda *_: None)
    patch.setattr(CascadeMaskRCNN, "detections", detections)
    return make().evaluate(vit(), folder)


def seqtrack(make: MakeEvaluation, folder: Path, patch: pytest.MonkeyPatch) -> Metrics:
    def follow(self: SequenceTracker, tracks: Sequence[Any], advance: object) -> Iterator[Followed]:
        return (Followed(track, track.boxes, np.ones(track.num_frames)) for track in tracks)

    patch.setattr(Training, "run", lambda *_: None)
    patch.setattr(SequenceTracker, "follow", follow)
    return make().evaluate(vit(), folder)


# By the evaluation's name: its metrics for predictions that are the truth. All are 100, a decay 0.
PERFECT: dict[str, Callable[[MakeEvaluation, Path, pytest.MonkeyPatch], Metrics]] = {
    "knn": classify,
    "knn_fewshot": classify,
    "logreg": classify,
    "linear": linear,
    "finetune": finetune,
    "lost": lost,
    "dense_knn": dense_knn,
    "davis": davis,
    "video_kmeans": video_kmeans,
    "own_video": own_video,
    "upernet": upernet,
    "cascade_mask_rcnn": cascade_mask_rcnn,
    "seqtrack": seqtrack,
}
