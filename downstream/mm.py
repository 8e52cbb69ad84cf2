"""mmsegmentation and mmdetection without compiled extensions: the one module that imports mm*, and only when it is asked to.

Models are made from plain config dicts; our ViT is their backbone `PyramidViT`.
"""

import importlib
import types
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from longtake.backbones.vit import ViT
from longtake.backbones.weights import architecture_of
from longtake.datasets.pictures import read_levels
from longtake.downstream.base import Encoder
from longtake.downstream.mm_operators import register_extension
from longtake.parallel import world_size

NEEDED = {"mmengine": "0.10", "mmcv": "2.1", "mmsegmentation": "1.2", "mmdet": "3.3"}


@lru_cache(maxsize=1)
def load() -> types.SimpleNamespace:
    """mmseg's and mmdet's registries with everything in them (10 to 20 seconds). Raises `ImportError` with the versions found."""
    try:
        register_extension()
        with warnings.catch_warnings(action="ignore"):
            seg, det = importlib.import_module("mmseg.registry"), importlib.import_module("mmdet.registry")
            importlib.import_module("mmseg.utils").register_all_modules(init_default_scope=False)
            importlib.import_module("mmdet.utils").register_all_modules(init_default_scope=False)
    except (ImportError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ImportError(
            f"mm* cannot be imported ({reason}); found: {found()}; needed: {_versions(NEEDED)}"
        ) from error
    importlib.import_module("mmengine.logging").MMLogger.get_current_instance().setLevel("WARNING")
    for registry in (seg, det):
        registry.MODELS.register_module(name="PyramidViT", module=PyramidViT, force=True)
        registry.TRANSFORMS.register_module(name="ReadImage", module=ReadImage, force=True)
    return types.SimpleNamespace(mmseg=seg, mmdet=det)


def missing() -> list[str]:
    """List what is wrong with the installed versions, without importing them; [] when nothing is."""
    for name, wanted in NEEDED.items():
        if not (_installed(name) or "").startswith(wanted):
            return [f"this evaluation needs {_versions(NEEDED)}; found: {found()}"]
    return []


def found() -> str:
    return _versions({name: _installed(name) or "none" for name in NEEDED})


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _installed(name: str) -> str | None:
    for distribution in (name, f"{name}-lite"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


class ReadImage:
    """mmcv's LoadImageFromFile with the reader of everything else, which never turns a picture (datasets/pictures.py).

    Raises `UnreadableImage` for a file that is not there or cannot be decoded.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        image = np.ascontiguousarray(read_levels(results["img_path"])[..., ::-1])  # mm* takes BGR
        return {**results, "img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}


class PyramidViT(nn.Module):
    """Our ViT with the pyramid of iBOT's dense evaluations (the paper's B.3): two deconvolutions, one, identity, pooling.

    `taps` are the blocks whose tokens are used, one per level, through the final norm or raw; the last block at every level makes
    the simple pyramid of ViTDet (https://arxiv.org/abs/2203.16527). Patches of 16 give strides 4, 8, 16, 32; patches of 8 have one
    deconvolution less and pool more.
    """

    def __init__(self, architecture: dict[str, Any], taps: Sequence[int], norm: bool, norm_type: str = "BN") -> None:
        super().__init__()
        self.encoder = ViT(**architecture)
        self.taps, self.norm = list(taps), norm
        if not norm:
            self.encoder.norm = nn.Identity()  # type: ignore[assignment]
        self.pyramid = pyramid(self.encoder.embed_dim, self.encoder.patch_size, norm_type)

    def forward(self, x: Float[Tensor, "b 3 height width"]) -> tuple[Float[Tensor, "b d _ _"], ...]:
        """Maps of strides 4, 8, 16, 32. Images of any size: they are padded to whole patches at the right and the bottom."""
        patch = self.encoder.patch_size
        x = F.pad(x, (0, -x.shape[-1] % patch, 0, -x.shape[-2] % patch))
        grid = (x.shape[-2] // patch, x.shape[-1] // patch)
        blocks = sorted(set(self.taps))
        tokens = dict(zip(blocks, self.encoder.intermediate(x, blocks, norm=self.norm), strict=True))
        maps = [tokens[tap][:, 1:].transpose(1, 2).unflatten(2, grid) for tap in self.taps]
        return tuple(level(m) for level, m in zip(self.pyramid, maps, strict=True))

    def init_weights(self) -> None:
        """mmengine's hook; the encoder's weights come from a checkpoint, the deconvolutions keep torch's initialisation."""


def pyramid(dim: int, patch_size: int, norm_type: str = "BN") -> nn.ModuleList:
    """Return the module that turns maps of stride `patch_size` into strides 4, 8, 16, 32."""
    norm = {"BN": nn.BatchNorm2d, "SyncBN": nn.SyncBatchNorm}[norm_type]
    up = lambda: nn.ConvTranspose2d(dim, dim, kernel_size=2, stride=2)  # noqa: E731
    if patch_size == 16:
        levels = [nn.Sequential(up(), norm(dim), nn.GELU(), up()), up(), nn.Identity(), nn.MaxPool2d(2)]
    elif patch_size == 8:
        levels = [up(), nn.Identity(), nn.MaxPool2d(2), nn.MaxPool2d(4)]
    else:
        raise ValueError(f"a pyramid for patches of {patch_size}: expected 8 or 16")
    return nn.ModuleList(levels)


def check_encoder(encoder: Encoder, taps: Sequence[int]) -> None:
    """Raise `ValueError` for an encoder that has no such blocks, or patches of another size."""
    levels = pyramid(1, encoder.patch_size)
    if len(taps) != len(levels):
        raise ValueError(f"taps={list(taps)}: expected {len(levels)} blocks, one for each level of the pyramid")
    if max(taps) >= encoder.depth:
        raise ValueError(f"taps={list(taps)}: the encoder has {encoder.depth} blocks, expected numbers below")
    if not isinstance(encoder, ViT):
        raise ValueError(f"got a {type(encoder).__name__}, expected the suite's ViT")


def build_model(
    scope: str, config: dict[str, Any], encoder: ViT, drop_path: float, taps: Sequence[int], norm: bool
) -> nn.Module:
    """A model of mmseg or mmdet (`scope`) with a copy of the encoder as its backbone; the head's weights are drawn by torch."""
    registries = load()
    init_default_scope = importlib.import_module("mmengine.registry").init_default_scope
    init_default_scope(scope)
    architecture = {**architecture_of(encoder), "drop_path": drop_path}
    backbone = {
        "type": "PyramidViT",
        "architecture": architecture,
        "taps": list(taps),
        "norm": norm,
        "norm_type": norm_type(),
    }
    plain = importlib.import_module("mmengine.config").ConfigDict({**config, "backbone": backbone})
    with warnings.catch_warnings(action="ignore"):  # each loss says that its defaults are its defaults
        model = getattr(registries, scope).MODELS.build(plain)
        model.init_weights()
    weights = {name: value for name, value in encoder.state_dict().items() if name != "mask_token"}
    if not norm:
        weights = {name: value for name, value in weights.items() if not name.startswith("norm.")}
    model.backbone.encoder.load_state_dict(weights)
    return model


def norm_type() -> str:
    """Statistics over all devices where there are several (the recipes'); plain ones are the same on one."""
    return "SyncBN" if world_size() > 1 and torch.cuda.is_available() else "BN"


def build_dataset(scope: str, config: dict[str, Any]) -> Any:
    """A dataset of mmseg or mmdet, read lazily by index."""
    registries = load()
    importlib.import_module("mmengine.registry").init_default_scope(scope)
    return getattr(registries, scope).DATASETS.build(config)


def collate(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Inputs and data samples, as the models' preprocessors take them."""
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def losses(model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The loss terms of a batch; `model` may be wrapped for several processes."""
    inner: Any = getattr(model, "module", model)
    data = inner.data_preprocessor(batch, training=True)
    found = model(**data, mode="loss")
    return {name: _total(value) for name, value in found.items() if "loss" in name}


def _total(value: Tensor | Sequence[Tensor]) -> Tensor:
    return value.mean() if isinstance(value, Tensor) else torch.stack([v.mean() for v in value]).sum()


@torch.no_grad()
def predictions(model: Any, dataset: Any, indices: Sequence[int], num_workers: int = 0) -> Iterator[tuple[int, Any]]:
    """The data sample of each index, with its prediction in it."""
    loader = DataLoader(Subset(dataset, list(indices)), batch_size=1, num_workers=num_workers, collate_fn=collate)
    model.eval()
    for index, batch in zip(indices, loader, strict=True):
        yield index, model.test_step(batch)[0]
