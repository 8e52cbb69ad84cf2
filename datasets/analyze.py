"""`run task=analyze pretrain=NAME`: an x-ray of videos as CSV, PNG and one HTML page that compares all looked at so far."""

import base64
import csv
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from longtake.datasets.detect import detector_of
from longtake.datasets.frame_store import FrameStore
from longtake.datasets.prepare import prepare
from longtake.datasets.sources.base import Source
from longtake.datasets.sources.stored import Stored
from longtake.datasets.xray import Looks, class_counts, figures_of, look

MOST_FREQUENT = 25  # classes in the picture
LONGEST = 200  # bytes of a folder's name, of 255 that file systems take

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; } figure { margin: 2rem 0; } figcaption { color: #555; }
"""


def analyze(source: Source, detector: str, interval: float, root: Path) -> Path:
    """Look at a source, write `root`/LABEL and the page `root`/index.html; returns the page.

    Raises `ValueError` for a source that is not there, or not stored as a video, and for a detector that cannot be had.
    """
    if not isinstance(source, Stored):  # only there every frame is measured
        raise ValueError(f"task=analyze looks at videos in a frame store; pretrain={source.name} has none")
    store = prepare(source)
    assert isinstance(store, FrameStore)
    detect, counted = detector_of(detector, source.truth())
    looks = look(store, detect, interval)
    folder = root / folder_name(source.label)
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(looks, folder / "frames.csv")
    draw_panels(store, looks, f"{source.label}: {counted}", folder / "xray.png")
    about: dict[str, Any] = {
        "label": source.label,
        "counted": counted,
        "interval": interval,
        "figures": {name: value if np.isfinite(value) else None for name, value in figures_of(store, looks).items()},
    }
    about["classes"] = class_counts(looks).most_common(MOST_FREQUENT)
    (folder / "summary.json").write_text(json.dumps(about, indent=1) + "\n")
    return write_page(root)


def folder_name(label: str) -> str:
    """A name that every file system takes; a long one, of many videos, ends in a hash of all of it."""
    name = re.sub(r"[^\w.+-]", "_", label)
    if len(name.encode()) <= LONGEST:
        return name
    kept = name.encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{kept}-{hashlib.sha256(label.encode(errors='surrogateescape')).hexdigest()[:8]}"


def write_csv(looks: Looks, path: Path) -> None:
    """One line per frame looked at."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*looks.columns, "labels"])
        for row, labels in zip(
            zip(*(getattr(looks, c) for c in looks.columns), strict=True), looks.labels, strict=True
        ):
            cells = [f"{cell:.5g}" if isinstance(cell, float) else int(cell) for cell in row]
            writer.writerow([*cells, " ".join(sorted(labels))])


def draw_panels(store: FrameStore, looks: Looks, title: str, path: Path) -> None:
    """Six panels over time or classes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    figure.suptitle(shown(title), parse_math=False)
    offsets = np.concatenate(
        [[0.0], np.cumsum([np.ptp(store.seconds[store.video == v]) for v in np.unique(store.video)])]
    )
    minutes = (looks.seconds + offsets[looks.video]) / 60
    for ax, name, values, unit in (
        (axes[0, 0], "lightness", looks.lightness, "L*"),
        (axes[0, 1], "objects per frame", looks.objects, "count"),
        (axes[1, 1], "sharpness", looks.sharpness, "log10 of the Laplacian's variance"),
        (axes[1, 2], "motion", looks.motion, "frame widths per second"),
    ):
        ax.plot(minutes, values, ".", markersize=8 if len(values) < 100 else 2, alpha=0.35, color="tab:blue")
        ax.plot(minutes, smooth(values), color="tab:orange", linewidth=1.5)
        ax.set(title=name, xlabel="minutes", ylabel=unit)
    for cut in (t + offsets[v] for v, cuts in enumerate(store.cuts) for t in cuts):
        axes[0, 0].axvline(cut / 60, color="0.8", linewidth=0.5, zorder=0)
    draw_classes(axes[0, 2], looks)
    draw_shots(axes[1, 0], store)
    figure.savefig(path, dpi=100)


def shown(title: str) -> str:
    """A title that fits, of what a font has."""
    text = title.encode(errors="replace").decode()
    return text if len(text) <= 150 else f"{text[:75]} ... {text[-70:]}"


def draw_classes(ax: Any, looks: Looks) -> None:
    frequent = [(name, n) for name, n in class_counts(looks).most_common(MOST_FREQUENT) if name != "region"]
    ax.set(title="class frequency", ylabel="count")
    if frequent:
        ax.bar(*zip(*frequent, strict=True), color="tab:blue")
        ax.tick_params(axis="x", rotation=90)
    else:
        ax.text(0.5, 0.5, "no labels:\nregions were counted", ha="center", va="center", transform=ax.transAxes)


def draw_shots(ax: Any, store: FrameStore) -> None:
    lengths = [np.diff([0.0, *cuts, store.seconds[store.video == v].max()]) for v, cuts in enumerate(store.cuts)]
    seconds = np.concatenate(lengths)
    ax.set(title="length of shots", xlabel="seconds", ylabel="count")
    if len(seconds) > len(lengths):
        ax.hist(seconds, bins=30, color="tab:blue")
    else:
        takes = f"one take of {seconds[0]:.0f} s" if len(seconds) == 1 else f"{len(seconds)} takes"
        ax.text(0.5, 0.5, f"no cuts:\n{takes}", ha="center", va="center", transform=ax.transAxes)


def smooth(values: np.ndarray, width: int = 15) -> np.ndarray:
    """Running median of what is finite."""
    half = width // 2
    padded = np.pad(values.astype(float), half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    with np.errstate(all="ignore"):
        return np.array([np.median(w[np.isfinite(w)]) if np.isfinite(w).any() else np.nan for w in windows])


def write_page(root: Path) -> Path:
    """One file, readable without a network: a table with a column per source, and their pictures."""
    found = [(p.parent, json.loads(p.read_text())) for p in sorted(root.glob("*/summary.json"))]
    rows = {name: [about["figures"].get(name) for _, about in found] for _, about in found for name in about["figures"]}
    head = "".join(f"<th>{html.escape(about['label'])}</th>" for _, about in found)
    body = "".join(f"<tr><td>{html.escape(name)}</td>{''.join(map(cell, row))}</tr>" for name, row in rows.items())
    figures = "".join(figure_of(folder, about) for folder, about in found)
    page = root / "index.html"
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Data x-ray</title><style>{STYLE}</style><h1>Data x-ray</h1>"
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>{figures}</html>\n"
    )
    return page


def figure_of(folder: Path, about: dict[str, Any]) -> str:
    label, counted = html.escape(about["label"]), html.escape(about["counted"])
    picture = base64.b64encode((folder / "xray.png").read_bytes()).decode()
    caption = f"{label}: {counted}; a frame every {about['interval']:g} s."
    return (
        f'<figure><img alt="{label}" src="data:image/png;base64,{picture}"><figcaption>{caption}</figcaption></figure>'
    )


def cell(value: float | None) -> str:
    if value is None:
        return "<td>-</td>"
    return f"<td>{value:,.0f}</td>" if float(value).is_integer() else f"<td>{value:,.2f}</td>"
