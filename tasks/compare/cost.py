"""What the trainings of a comparison cost: frames, FLOP, hours, by a probe on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from longtake.engine.identity import Config
from longtake.engine.length import in_time
from longtake.engine.plan import duration_of
from longtake.engine.probe import clips_of, measure_cost, probed
from longtake.leaderboards.render import empty_table

COST_HEAD = ["training", "frames", "steps", "FLOP per frame", "FLOP in all", "relative", "time, about"]


@dataclass(frozen=True)
class Cost:
    """The cost of a training: frames, steps, FLOP of a frame, hours of one seed."""

    frames: int
    steps: int
    flop_per_frame: float
    hours: float

    @property
    def flop(self) -> float:
        return self.frames * self.flop_per_frame


def steps_and_frames(config: Config) -> tuple[int, int]:
    """Of a whole training."""
    duration = duration_of(config, clips_of(config))
    return duration.num_steps, duration.num_steps * duration.batch_size * config["method"]["num_frames"]


def cost_of(config: Config) -> Cost:
    """By a probe of the model, on this machine."""
    steps, frames = steps_and_frames(config)
    return Cost(frames, steps, probed(config).flop / config["method"]["num_frames"], measure_cost(config).hours)


def cost_table(costs: dict[str, Cost]) -> Table:
    """Frames and FLOP of each training, and how many times the cheapest that is."""
    shown = empty_table("what the trainings cost")
    for number, name in enumerate(COST_HEAD):
        shown.add_column(name, justify="right" if number else "left")
    for cells in cost_cells(costs):
        shown.add_row(*cells)
    return shown


def cost_cells(costs: dict[str, Cost]) -> list[list[str]]:
    """The cells of `cost_table`, a line for each training."""
    least = min(cost.flop for cost in costs.values())
    return [
        [
            label, f"{cost.frames:,}", f"{cost.steps:,}", f"{cost.flop_per_frame:.2e}", f"{cost.flop:.2e}",
            f"{cost.flop / least:.2f}", in_time(3600 * cost.hours),
        ]
        for label, cost in costs.items()
    ]  # fmt: skip


def why_flop(configs: Sequence[Config]) -> str:
    """Say what FLOP count, and why a frame of DoRA costs more."""
    text = (
        "FLOP are those of forward and backward passes, the teacher's and the heads' included, as PyTorch counts them."
    )
    for config in configs:
        if (objects := config["method"].get("num_objects")) is not None:
            return f"{text} DoRA shows the student each global view once for each of its {objects} object(s): so many passes more."
    return text
