"""Who is compared: trainings of several methods, of equal frames or of equal FLOP, or encoders that exist."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from longtake.backbones.checkpoints import open_encoder
from longtake.backbones.weights import weights_hash
from longtake.engine.budget import picks, rounded
from longtake.engine.compared import deciding, words_of_runs
from longtake.engine.config import choices, plainly
from longtake.engine.encoders import check_header, check_label
from longtake.engine.folders import ENCODER
from longtake.engine.identity import Config, config_hash
from longtake.engine.machine import AUTO_PRECISIONS, of_process
from longtake.engine.words import word_of
from longtake.files import whole
from longtake.leaderboards.schema import RANDOM_INIT, Row
from longtake.registry import unknown
from longtake.tasks.compare.cost import cost_of, steps_and_frames
from longtake.tasks.table.cells import chosen_seeds

SAME_FLOP = 0.02  # relative: a training as dear as the cheapest is not repeated


@dataclass(frozen=True)
class Contender:
    """An encoder that is compared, over its seeds; `words` are those of its run, without the seed."""

    label: str
    words: tuple[str, ...]
    seeds: tuple[int | None, ...]  # None: of a checkpoint
    output: Path
    weights: str = ""  # hash of a checkpoint's

    def config(self, seed: int | None) -> Config:
        """The configuration of its run, as the process will see it; for a job, whose GPUs are not here, but for the device."""
        return of_process(self._words(seed))

    def _words(self, seed: int | None) -> list[str]:
        return [*self.words, *([] if seed is None else [f"seed={seed}"])]

    def hashes(self, seed: int | None) -> set[str]:
        """The hashes that its run's configuration can have: where nobody gives the precision, the device decides it."""
        config, given = self.config(seed), plainly(self._words(seed))["trainer"]["precision"]
        precisions = AUTO_PRECISIONS if given == "auto" else (given,)
        return {config_hash({**config, "trainer": {**config["trainer"], "precision": each}}) for each in precisions}

    @property
    def method(self) -> str:
        """What it was trained with; "" of a checkpoint."""
        return self.words[0].partition("=")[2] if self.words[0].startswith("method=") else ""

    def has(self, row: Row, seed: int | None) -> bool:
        """Whether a leaderboard's row is this contender's; random init beside a training has that training's hash, too."""
        if self.weights:
            return row.provenance.checkpoint_hash == self.weights
        mine = (row.key.method, row.key.seed) == (self.method, seed)
        return mine and row.provenance.config_hash in self.hashes(seed)

    @property
    def leaderboards(self) -> Path:
        return self.output / "leaderboards"


def trainings(config: Config, words: Sequence[str], folder: Path) -> list[Contender]:
    """Contenders of `compare.methods`; what a budget picks for them is kept in `folder`, for when the same command goes on.

    Raises `ValueError` for names, seeds or a match that there is not, and where the frames would not be equal.
    """
    methods, seeds = _methods(config), chosen_seeds(config["seeds"]) or (config["seed"],)
    shared = words_of_runs(words)
    shared += _picked(methods, shared, folder, config["dry_run"])
    shared += _equal_frames(methods, shared)
    output = word_of("output", config["output"])
    equal = [
        Contender(method, (f"method={method}", *shared, output), seeds, Path(config["output"])) for method in methods
    ]
    match = config["compare"]["match"]
    return (equal if match != "flop" else []) + ([] if match == "frames" else _of_equal_flop(equal, match == "flop"))


def _methods(config: Config) -> list[str]:
    methods = [str(name) for name in config["compare"]["methods"] or []]
    for name in methods:
        if name not in choices("method"):
            raise ValueError(unknown("method", name, choices("method")))
    trained = [name for name in methods if name != RANDOM_INIT]  # which stands beside them anyway
    if len(set(trained)) < len(trained) or not trained or len(methods) < 2:
        raise ValueError(
            f"task=compare: got method=[{','.join(methods)}], expected two or more different ones: method=[dora,dino]"
        )
    return trained


def _picked(methods: Sequence[str], shared: list[str], folder: Path, dry: bool) -> list[str]:
    """What a budget adds, once and for all: a second probe would find another speed, and begin other trainings.

    Raises `ValueError` where the folder is that of another comparison.
    """
    kept, words = folder / "picked.json", deciding([f"method={','.join(methods)}", *shared])
    if kept.is_file():
        before, picked = _kept(kept)
        if before != words:
            raise ValueError(f"name: {folder} is the comparison {' '.join(before)}; expected a name of its own")
        return picked
    found = picks([f"method={','.join(methods)}", *shared])
    if not dry:
        with whole(kept) as part:
            part.write_text(json.dumps({"words": words, "picked": found}))
    return found


def _kept(path: Path) -> tuple[list[str], list[str]]:
    """The words of a comparison, and what was picked for it. Raises `ValueError` for a file that is damaged."""
    try:
        known = json.loads(path.read_text())
        words, picked = ([str(word) for word in known[key]] for key in ("words", "picked"))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}); remove it, and a budget is picked anew") from error
    return words, picked


def _equal_frames(methods: Sequence[str], shared: list[str]) -> list[str]:
    """Equal frames where nothing says how many: as many as the method that would see fewest."""
    configs = [plainly([f"method={method}", *shared]) for method in methods]
    if configs[0]["frames"] is not None:
        return []
    frames = min(steps_and_frames(config)[1] for config in configs)
    rest = [word for word in shared if word.startswith("pretrain.clips_per_epoch=")]
    if rest:
        raise ValueError(f"task=compare: {rest[0]} is another number of frames for each method; give frames={frames}")
    return [f"frames={frames}"]


def _of_equal_flop(equal: list[Contender], alone: bool) -> list[Contender]:
    """The same FLOP as the cheapest at equal frames; `alone`: the cheapest, too, and every label as it is."""
    costs = {contender: cost_of(contender.config(contender.seeds[0])) for contender in equal}
    least = min(cost.flop for cost in costs.values())
    found = []
    for contender, cost in costs.items():
        if cost.flop <= (1 + SAME_FLOP) * least:
            found += [contender] if alone else []
            continue
        words = [word for word in contender.words if not word.startswith("frames=")]
        frames = f"frames={rounded(int(least / cost.flop_per_frame))}"
        label = contender.label if alone else f"{contender.label} at equal FLOP"
        found.append(replace(contender, label=label, words=(*words, frames)))
    return found


def encoders(config: Config, words: Sequence[str], folder: Path) -> list[Contender]:
    """Contenders of `compare.checkpoints`, by their labels. Raises `ValueError` for files or labels that are the same, or none."""
    paths = [str(path) for path in config["compare"]["checkpoints"]]
    named = config["compare"]["labels"] is not None  # rows then carry them
    labels = [str(label) for label in config["compare"]["labels"]] if named else [_called(Path(path)) for path in paths]
    if len(paths) < 2:
        raise ValueError(
            f"task=compare: got checkpoint=[{','.join(paths)}], expected two or more: checkpoint=[a.safetensors,b.pth]"
        )
    if len(labels) != len(paths) or len(set(labels)) < len(labels):
        raise ValueError(f"label: got [{','.join(labels)}], expected {len(paths)} different names: label=[mine,theirs]")
    found: dict[str, Contender] = {}
    for label, path in zip(labels, paths, strict=True):
        if named:
            check_label(label)
        encoder, header, _ = open_encoder(Path(path), config["checkpoint_key"], config["checkpoint_pos_mode"])
        check_header(header, path)
        weights = weights_hash(encoder)
        if weights in found:
            raise ValueError(
                f"checkpoint: {label} and {found[weights].label} are the same encoder, weight by weight ({weights})"
            )
        place = folder / "encoders" / (label.replace("/", "_").strip(".") or "_")  # never a folder above
        own = [word_of("checkpoint", path), word_of("output", place), *([word_of("label", label)] if named else [])]
        found[weights] = Contender(label, (*words_of_runs(words), *own), (None,), place, weights)
    return list(found.values())


def _called(path: Path) -> str:
    """The name of a file, or of the run's folder that it lies in."""
    return path.resolve().parent.name if path.name == ENCODER else path.stem
