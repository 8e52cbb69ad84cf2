"""A comparison in sentences, and as a page of Markdown."""

from collections.abc import Sequence

from longtake.leaderboards.ranking import Pair, RankedMethod
from longtake.leaderboards.render import escape_markdown, markdown_rows, method_name
from longtake.tasks.compare.cost import COST_HEAD
from longtake.tasks.compare.result import Comparison, cells_of, is_label_free

FREE = "label-free numbers say how encoders differ on this video, not which is better"


def sentences(results: Sequence[Comparison]) -> list[str]:
    """One for each task: the first against each of the others."""
    lines = [_sentence(result) for result in results]
    return [*lines, f"* {FREE}"] if any(is_label_free(result.evaluation) for result in results) else lines


def _sentence(result: Comparison) -> str:
    first = result.ranked[0]
    pairs = [pair for pair in result.pairs if pair.better == first.name]
    against = "; ".join(_against(pair, result.of(pair.worse)) for pair in pairs)
    items, seeds = pairs[0].contrast.num_items, first.score.num_seeds
    several = f", Holm over {len(result.pairs)} pairs" if len(result.pairs) > 1 else ""
    tested = f"(paired test over items{' and seeds' if seeds > 1 else ', one seed each'}, 95 %, {items} independent items{several})"
    left = f"; tested on other items: {', '.join(result.left_out)}" if result.left_out else ""
    return f"{result.evaluation} {result.metric}: {method_name(first.name)} {first.score.value:.1f} {against} {tested}{left}"


def _against(pair: Pair, other: RankedMethod | None) -> str:
    assert other is not None
    found, name = pair.contrast, f"{method_name(other.name)} {other.score.value:.1f}"
    value, low, high = found.value, found.low, found.high
    relation = "is above"
    if value < 0:
        relation, value, low, high = "is below", -value, -high, -low
    if f"{value:.1f}" == "0.0":
        return f"equals {name} within 0.1 [{low:.1f}, {high:.1f}]"
    verdict = "too few items to tell" if found.too_few else "significant" if pair.significant else "not significant"
    return f"{relation} {name} by {value:.1f} [{low:.1f}, {high:.1f}]: {verdict}"


def markdown(
    results: Sequence[Comparison],
    labels: Sequence[str],
    said: Sequence[str],
    cost: Sequence[Sequence[str]],
    picture: str,
) -> str:
    """The page: scores, sentences, costs, the picture."""
    rows = [["", *(escape_markdown(method_name(label)) for label in labels)]]
    for result in results:
        cells = [
            (f"**{value}**" if best else value) + (f"<br><sub>{interval}</sub>" if interval else "")
            for value, interval, best in cells_of(result, labels)
        ]
        rows.append([f"{escape_markdown(result.evaluation)}<br><sub>{escape_markdown(result.metric)}</sub>", *cells])
    parts = [f"# {escape_markdown(' against '.join(map(method_name, labels)))}", markdown_rows(rows)]
    parts += ["Scores in per cent over seeds with 95 % intervals; who shares a letter is statistically tied (Holm)."]
    parts += ["\n".join(f"- {escape_markdown(line)}" for line in said)]
    if cost:
        parts += [markdown_rows([COST_HEAD, *([escape_markdown(cells[0]), *cells[1:]] for cells in cost)])]
    return "\n\n".join([*parts, f"![scores with intervals]({picture})"]) + "\n"
