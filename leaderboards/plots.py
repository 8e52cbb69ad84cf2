"""The comparison in pictures: bars with intervals, methods x tasks as a heat map, losses. Names with dollars are no formulas."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from longtake.leaderboards.overview import Column, Line, place
from longtake.leaderboards.schema import lower_is_better

TRAINED, UNTRAINED, LEADING = "#b3cbe6", "#cccccc", "#5b8fc9"
DPI = 110
PANELS_A_ROW = 4
LETTER = 0.07  # inches: what a letter of a label takes at most at these sizes

Curve = tuple[Sequence[float], Sequence[float]]  # where, how much


def draw_bars(lines: Sequence[Line], columns: Sequence[Column], path: Path) -> None:
    """A panel for each column; dark bars are those that nobody is significantly better than."""
    figure, axes = _panels(len(columns), (3.1, 0.3 * len(lines) + 0.9), _longest(line.label for line in lines))
    shown = list(reversed(lines))
    for number, (axis, column) in enumerate(zip(axes, columns, strict=False)):
        for y, line in enumerate(shown):
            if (score := line.score(column)) is None:
                continue
            colour = UNTRAINED if line.untrained else LEADING if score.leads else TRAINED
            axis.barh(y, score.value, color=colour)
            if score.low is not None and score.high is not None:
                axis.plot([score.low, score.high], [y, y], color="black", linewidth=1.2)
            if line.untrained:
                axis.axvline(score.value, color="0.5", linestyle=":", linewidth=1, zorder=0)
        axis.set_title("\n".join(column), fontsize=8, loc="left", parse_math=False)
        labels = [line.label for line in shown] if number % PANELS_A_ROW == 0 else []
        axis.set_yticks(range(len(shown)), labels, parse_math=False)
        axis.set_ylim(-0.6, len(shown) - 0.4)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("per cent, 95 % intervals; dark: nobody is significantly better; dotted: random init", fontsize=8)
    figure.savefig(path, dpi=DPI)


def draw_heat_map(lines: Sequence[Line], columns: Sequence[Column], path: Path) -> None:
    """Scores on colours: how far above (blue) or below (red) random init, by the column's largest difference."""
    width, height = _longest(line.label for line in lines), _longest(part for column in columns for part in column)
    figure = Figure(figsize=(1.05 * (len(columns) + 1) + width, 0.42 * (len(lines) + 1) + height), layout="constrained")
    axis = figure.subplots()
    shades = np.array([_shades(lines, column) for column in columns]).T
    axis.imshow(shades, cmap="RdBu", vmin=-1.6, vmax=1.6, aspect="auto")
    for x, column in enumerate(columns):
        for y, line in enumerate(lines):
            if (score := line.score(column)) is not None:
                text = f"{score.value:.1f}" + (
                    " (stale)" if line.stale(column) else f" {score.letters}" if score.letters else ""
                )
                weight = "bold" if place(line, column, lines) == 0 else "normal"
                axis.text(x, y, text, ha="center", va="center", fontsize=8, fontweight=weight)
    names = ["\n".join(column) for column in columns]
    axis.set_xticks(range(len(columns)), names, fontsize=8, rotation=40, ha="left", parse_math=False)
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(lines)), [line.label for line in lines], fontsize=9, parse_math=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("bold: the best number; a letter in common: statistically tied", fontsize=8)
    figure.savefig(path, dpi=DPI)


def _shades(lines: Sequence[Line], column: Column) -> list[float]:
    """Return a shade from -1 to 1 for each line; NaN where it has no score. Without random init the median is the middle."""
    scores = [line.score(column) for line in lines]
    values = np.array([np.nan if score is None else score.value for score in scores])
    untrained = [i for i, line in enumerate(lines) if line.untrained and column in line.entries]
    if np.isnan(values).all():
        return values.tolist()
    differences = values - (values[untrained[0]] if untrained else np.nanmedian(values))
    largest = np.nanmax(np.abs(differences)) or 1.0
    return (differences / largest * (-1 if lower_is_better(column.metric) else 1)).tolist()


def draw_losses(runs: Mapping[str, Sequence[Curve]], path: Path) -> None:
    """A panel for each method, whose losses have scales of their own; a line for each run."""
    figure, axes = _panels(len(runs), (3.1, 2.0))
    for axis, (name, curves) in zip(axes, runs.items(), strict=False):
        for where, values in curves:
            axis.plot(where, values, linewidth=1, alpha=0.8)
        axis.set_title(name, fontsize=9, loc="left", parse_math=False)
        axis.tick_params(labelsize=7)
        axis.set_xlabel("share of the training", fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=DPI)


def _longest(labels: Iterable[str]) -> float:
    """Inches that the longest label takes."""
    return LETTER * max(map(len, labels), default=0)


def _panels(count: int, size: tuple[float, float], margin: float = 0) -> tuple[Figure, list[Axes]]:
    """`count` axes of a size in inches, in rows, with a margin on the left."""
    width = min(count, PANELS_A_ROW) or 1
    height = -(-count // width) or 1
    figure = Figure(figsize=(size[0] * width + margin, size[1] * height), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(height, width)).flat)
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]
