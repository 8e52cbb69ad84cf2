"""`run task=export checkpoint=...`: an encoder for everybody, tensors with timm's names and a card whose numbers are rows."""

from pathlib import Path
from typing import Any

from safetensors.torch import save

from longtake.backbones.vit import SIZES, ViT
from longtake.backbones.weights import weights_hash
from longtake.engine.encoders import open_checkpoint
from longtake.engine.folders import in_file_name
from longtake.engine.identity import Config
from longtake.files import whole
from longtake.leaderboards.render import escape_markdown, markdown_table
from longtake.leaderboards.rows import board_files, metrics_of, read
from longtake.tasks import TASKS

WEIGHTS, CARD = "model.safetensors", "README.md"
NAMED = ("method", "backbone")  # fields of a header that are in the name of the folder


@TASKS.named("export")
def export_encoder(config: Config) -> None:
    """Say where the export is."""
    print(f"exported: {export(config)}")


def export(config: Config) -> Path:
    """Write `<output>/export/<name>/` with the tensors and the card; returns the folder.

    Raises `ValueError` when no checkpoint is given, when it cannot be read, and for an encoder that timm cannot build.
    """
    if config["checkpoint"] is None:
        raise ValueError("task=export needs checkpoint=FILE")
    encoder, header, report = open_checkpoint(config)
    arguments = timm_arguments(encoder)
    digest = weights_hash(encoder)
    folder = Path(config["output"]) / "export" / folder_name(header, digest)
    tensors = {name: t.detach().cpu().contiguous() for name, t in encoder.state_dict().items() if name != "mask_token"}
    tables = tables_of(digest, Path(config["output"]) / "leaderboards")
    with whole(folder / WEIGHTS) as part:
        part.write_bytes(save(tensors, metadata={"format": "pt"}))
    with whole(folder / CARD) as part:
        part.write_text(card(header, report, digest, arguments, tables), encoding="utf-8")
    return folder


def folder_name(header: dict[str, Any], digest: str) -> str:
    """The name of an export's folder. What a checkpoint says of itself may be anything, also a path that leads elsewhere."""
    names = (in_file_name(str(header.get(key))).strip("-") for key in NAMED)
    return "_".join([*(name or "unknown" for name in names), digest[:8]])


def timm_arguments(encoder: ViT) -> dict[str, int]:
    """Return the arguments that make timm's `VisionTransformer` the same network. Raises `ValueError` where none do."""
    width, depth, heads = SIZES[encoder.arch]
    if encoder.last_heads != heads:
        raise ValueError(
            f"task=export: the last block has {encoder.last_heads} heads, the others {heads}; timm has no such ViT"
        )
    size = {"img_size": encoder.image_size, "patch_size": encoder.patch_size}
    return size | {"embed_dim": width, "depth": depth, "num_heads": heads, "num_classes": 0}


def tables_of(digest: str, folder: Path) -> list[str]:
    """Markdown tables of the rows that were measured on exactly these tensors."""
    tables = []
    for path in board_files(folder):
        metrics = metrics_of(path)
        if rows := [row for row in read(path, metrics) if row.provenance.checkpoint_hash == digest]:
            tables.append(markdown_table(path.stem, rows, metrics))
    return tables


def card(header: dict[str, Any], report: str, digest: str, arguments: dict[str, int], tables: list[str]) -> str:
    """Write the encoder's card: what it is, how to load it, what it scored.

    What the checkpoint says of itself is shown as it is: no link, heading or tag of the page comes from there.
    """
    said = {key: escape_markdown(str(value)) for key, value in header.items() if value not in (None, "")}
    method, pretrain, backbone = (said.get(key, "unknown") for key in ("method", "pretrain", "backbone"))
    known = {
        "method": " ".join(filter(None, (method, said.get("variant")))),
        "pretrained on": pretrain,
        "epochs": said.get("epochs"),
        "frames seen": said.get("frames_seen"),
        "seed": said.get("seed"),
        "SHA-256 of the tensors": digest,
        "read from": escape_markdown(report),
    }
    about = "\n".join(f"- {name}: {value}" for name, value in known.items() if value)
    call = ", ".join(f"{name}={value}" for name, value in arguments.items())
    scores = "\n".join(tables) if tables else "None was measured on these tensors."
    return f"""# {method} on {pretrain}, {backbone}

{about}

## Use

```python
import timm
from safetensors.torch import load_file

model = timm.create_model("vit_tiny_patch16_224", {call})
model.load_state_dict(load_file("{WEIGHTS}"))  # strict
```

Images: RGB, ImageNet's mean and standard deviation.

## Scores

In per cent with 95 % intervals over the test items.

{scores}
"""
