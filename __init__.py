"""longtake: one long take in, a leaderboard out.

The public names, each imported when it is first asked for: `import longtake` costs nothing, and `longtake.dino_loss` PyTorch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors read; tests/test_library.py compares it with HOMES
    from longtake.backbones.checkpoints import open_encoder as open_encoder
    from longtake.backbones.vit import Tokens as Tokens
    from longtake.backbones.vit import ViT as ViT
    from longtake.backbones.vit import cls_attention as cls_attention
    from longtake.backbones.weights import load_encoder as load_encoder
    from longtake.backbones.weights import save_encoder as save_encoder
    from longtake.datasets.clips import Clips as Clips
    from longtake.datasets.pictures import normalized as normalized
    from longtake.datasets.pictures import read_rgb as read_rgb
    from longtake.datasets.sources.base import SOURCES as SOURCES
    from longtake.datasets.sources.base import Source as Source
    from longtake.datasets.sources.frames import Frames as Frames
    from longtake.datasets.sources.images import Images as Images
    from longtake.datasets.sources.video import Video as Video
    from longtake.datasets.views import Crop as Crop
    from longtake.datasets.views import MultiCrop as MultiCrop
    from longtake.datasets.views import Precrop as Precrop
    from longtake.datasets.views import Views as Views
    from longtake.datasets.views import collate as collate
    from longtake.downstream.base import DOWNSTREAM as DOWNSTREAM
    from longtake.downstream.base import Downstream as Downstream
    from longtake.downstream.base import Encoder as Encoder
    from longtake.downstream.got10k import average_overlap as average_overlap
    from longtake.downstream.jf import evaluate_sequence as evaluate_sequence
    from longtake.downstream.jf import j_and_f as j_and_f
    from longtake.downstream.knn import knn_classify as knn_classify
    from longtake.downstream.lost import corloc as corloc
    from longtake.downstream.lost import lost as lost
    from longtake.downstream.miou import mean_iou as mean_iou
    from longtake.engine.library import Pretrained as Pretrained
    from longtake.engine.library import evaluate as evaluate
    from longtake.engine.library import pretrain as pretrain
    from longtake.methods.base import METHODS as METHODS
    from longtake.methods.base import Duration as Duration
    from longtake.methods.base import Method as Method
    from longtake.methods.dino import dino_loss as dino_loss
    from longtake.methods.ibot import masked_patch_loss as masked_patch_loss
    from longtake.methods.simclr import nt_xent as nt_xent
    from longtake.methods.sinkhorn import sinkhorn as sinkhorn
    from longtake.methods.tracking import discover as discover
    from longtake.methods.tracking import track as track
    from longtake.methods.vicreg import covariance_loss as covariance_loss
    from longtake.methods.vicreg import invariance_loss as invariance_loss
    from longtake.methods.vicreg import variance_loss as variance_loss
    from longtake.tasks.compare.library import compare as compare

HOMES = {
    "backbones.checkpoints": ["open_encoder"],
    "backbones.vit": ["Tokens", "ViT", "cls_attention"],
    "backbones.weights": ["load_encoder", "save_encoder"],
    "datasets.clips": ["Clips"],
    "datasets.pictures": ["normalized", "read_rgb"],
    "datasets.sources.base": ["SOURCES", "Source"],
    "datasets.sources.frames": ["Frames"],
    "datasets.sources.images": ["Images"],
    "datasets.sources.video": ["Video"],
    "datasets.views": ["Crop", "MultiCrop", "Precrop", "Views", "collate"],
    "downstream.base": ["DOWNSTREAM", "Downstream", "Encoder"],
    "downstream.got10k": ["average_overlap"],
    "downstream.jf": ["evaluate_sequence", "j_and_f"],
    "downstream.knn": ["knn_classify"],
    "downstream.lost": ["corloc", "lost"],
    "downstream.miou": ["mean_iou"],
    "engine.library": ["Pretrained", "evaluate", "pretrain"],
    "methods.base": ["METHODS", "Duration", "Method"],
    "methods.dino": ["dino_loss"],
    "methods.ibot": ["masked_patch_loss"],
    "methods.simclr": ["nt_xent"],
    "methods.sinkhorn": ["sinkhorn"],
    "methods.tracking": ["discover", "track"],
    "methods.vicreg": ["covariance_loss", "invariance_loss", "variance_loss"],
    "tasks.compare.library": ["compare"],
}
HOME_OF = {name: f"longtake.{module}" for module, names in HOMES.items() for name in names}
__all__ = sorted([*HOME_OF, "__version__"])

try:
    __version__ = version("longtake")
except PackageNotFoundError:  # unpacked, not installed
    __version__ = "unknown"


if not TYPE_CHECKING:  # who would think that there is every name

    def __getattr__(name: str) -> Any:
        if name not in HOME_OF:
            raise AttributeError(f"module 'longtake' has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(HOME_OF[name]), name)
        return value


def __dir__() -> list[str]:
    return __all__
