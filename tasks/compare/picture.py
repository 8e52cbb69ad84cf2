"""A comparison as a picture: a panel for each metric, a point with its interval for each contender."""

from collections.abc import Sequence
from pathlib import Path

from longtake.leaderboards.render import method_name
from longtake.tasks.compare.result import Comparison, is_init, is_label_free

WIDTH, LINE, PANELS_A_ROW = 3.2, 0.3, 4  # inches
LETTER = 0.07  # inches that a letter of a label takes at most
COLOURS = ("#1f5fa8", "#c0562b", "#3a8f4c", "#8a4fa3", "#b08a1e", "#4aa3a3", "#a03a5a")


def draw(results: Sequence[Comparison], labels: Sequence[str], path: Path) -> None:
    """Written as PNG. The dotted line is random init, letters stand beside the intervals."""
    from matplotlib.figure import Figure  # takes a second to import

    wide = min(len(results), PANELS_A_ROW)
    high = -(-len(results) // wide)
    margin = LETTER * max(len(method_name(label)) for label in labels)
    size = (WIDTH * wide + margin, (LINE * len(labels) + 0.95) * high + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(high, wide, squeeze=False).flat
    shown = list(reversed(labels))
    for number, axis in enumerate(axes):
        if number >= len(results):
            axis.set_axis_off()
            continue
        result = results[number]
        for y, label in enumerate(shown):
            if (one := result.of(label)) is None:
                continue
            colour = "0.45" if is_init(label) else COLOURS[labels.index(label) % len(COLOURS)]
            axis.plot([one.score.low, one.score.high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
            axis.plot(one.score.value, y, "o", color=colour, markersize=6)
            axis.annotate(one.letters, (one.score.high, y), (4, -3), textcoords="offset points", fontsize=8)
            if is_init(label):
                axis.axvline(one.score.value, color="0.5", linestyle=":", linewidth=1, zorder=0)
        title = f"{result.evaluation}\n{result.metric}{' (label-free)' if is_label_free(result.evaluation) else ''}"
        axis.set_title(title, fontsize=8, loc="left", parse_math=False)
        names = [method_name(label) for label in shown] if number % wide == 0 else [""] * len(shown)
        axis.set_yticks(range(len(shown)), names, parse_math=False)
        axis.set_ylim(-0.6, len(shown) - 0.4)
        axis.margins(x=0.15)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        "per cent, 95 % intervals; a letter in common: statistically tied; dotted: random init", fontsize=8
    )
    figure.savefig(path, dpi=110)
