"""The rows of a comparison that are there already, those of random init beside them, and which are missing."""

from collections.abc import Sequence
from typing import NamedTuple

from longtake.engine.boards import rows_of
from longtake.engine.config import plainly
from longtake.engine.freshness import reasons
from longtake.engine.identity import protocol_suffix
from longtake.engine.plan import build_evaluation
from longtake.leaderboards.render import method_name
from longtake.leaderboards.schema import RANDOM_INIT, Row
from longtake.tasks.compare.contenders import Contender
from longtake.tasks.compare.result import Found

Rows = dict[tuple[str, str, int | None], Found]  # contender, evaluation, seed


class Tested(NamedTuple):
    """What rows have to be of to be compared: a protocol, and the data that are there."""

    protocol: str
    digest: str

    def has(self, row: Row) -> bool:
        return (row.key.protocol, row.key.source, row.provenance.digest) == (self.protocol, "run", self.digest)


def protocols_of(contender: Contender) -> dict[str, Tested]:
    """The evaluations whose data are here, each with its protocol. Raises `ValueError` where there is none."""
    config = contender.config(contender.seeds[0])
    chosen = [word for word in contender.words if word.startswith("pretrain=")]
    recipe = plainly([*chosen, f"eval=[{','.join(config['eval'])}]"])["eval"]
    tasks = {name: build_evaluation(keys) for name, keys in config["eval"].items()}
    found: dict[str, Tested] = {}
    for name, task in tasks.items():
        if not task.check():
            content = task.data()
            suffix = protocol_suffix(config["eval"][name], recipe[name], content)
            found[name] = Tested(task.protocol + suffix, content.digest if content else "")
    if not found:
        raise ValueError("task=compare: the data of no evaluation are here; suite=quick needs none")
    return found


def rows_at_hand(contenders: Sequence[Contender], protocols: dict[str, Tested]) -> Rows:
    """The fresh rows of the contenders, and of the random initialisations of their backbones (`inits_of`)."""
    found: Rows = {}
    inits: dict[tuple[str, str, int | None], Found] = {}  # by backbone
    for name, protocol in protocols.items():
        for contender in contenders:
            there = [
                (folder, row)
                for folder, row in rows_of(name, [contender.leaderboards])
                if protocol.has(row) and not list(reasons(folder / f"{name}.csv", row))
            ]
            for seed in contender.seeds:
                mine = [Found(*pair) for pair in there if contender.has(pair[1], seed)]
                for pair in mine:
                    found[contender.label, name, seed] = pair
                backbones = {pair.row.key.backbone for pair in mine}
                for folder, row in there:
                    if row.key.method == RANDOM_INIT and row.key.backbone in backbones and seed in (None, row.key.seed):
                        inits.setdefault((row.key.backbone, name, row.key.seed), Found(folder, row))
    several = len({backbone for backbone, *_ in inits}) > 1
    for (backbone, name, seed), pair in inits.items():
        found[f"{method_name(RANDOM_INIT)} {backbone}" if several else RANDOM_INIT, name, seed] = pair
    return found


def inits_of(contenders: Sequence[Contender], rows: Rows) -> list[str]:
    """The labels of random initialisations: `RANDOM_INIT`, or one with its name for each of several backbones."""
    return sorted({label for label, *_ in rows} - {contender.label for contender in contenders}) or [RANDOM_INIT]


def missing(contender: Contender, seed: int | None, protocols: dict[str, Tested], rows: Rows) -> list[str]:
    """The evaluations that a contender lacks, or whose random init is not there."""
    beside = contender.config(seed)["baseline"]

    def has_init(name: str, backbone: str) -> bool:
        inits = [key for key, (_, row) in rows.items() if (row.key.method, row.key.backbone) == (RANDOM_INIT, backbone)]
        return any(key[1] == name and seed in (None, key[2]) for key in inits)

    there = {name: rows.get((contender.label, name, seed)) for name in protocols}
    return [
        name for name, pair in there.items() if pair is None or (beside and not has_init(name, pair.row.key.backbone))
    ]
