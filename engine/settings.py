"""The types of the keys that belong to no class: those of configs/run.yaml, one line each, and of its groups of keys.

A key that a yaml or a command line gives and that has no line here is refused. `engine/keys.py` holds values against these types
as it does against the keywords of classes. Text (`Place`, `Commit`) is taken from the command line as it is typed.
"""

from typing import Annotated, Any, Literal

from longtake.datasets.roots import Place
from longtake.engine.hints import Above, AtLeast, Matching

Count = Annotated[int, AtLeast(1)]
FromZero = Annotated[int, AtLeast(0)]
Seed = Annotated[int, AtLeast(0, 2**32 - 1)]
Positive = Annotated[float, Above(0)]
Device = Annotated[str, Matching(r"auto|cpu|mps|cuda(:\d+)?", "auto, cpu, cuda, cuda:1 (the second GPU) or mps")]
Commit = Annotated[str, "a commit"]
Label = Annotated[str, "a name"]
# Lightning's, without its deprecated aliases (64, 32, 16, bf16); tests/engine/test_settings.py compares them.
Precision = Literal[
    "auto",
    "32-true",
    "bf16-mixed",
    "16-mixed",
    "bf16-true",
    "16-true",
    "64-true",
    "transformer-engine",
    "transformer-engine-float16",
]
OWN = frozenset({"method", "backbone", "pretrain", "eval"})  # groups of keys that are keywords of a chosen class


class Root:
    """configs/run.yaml."""

    task: str
    epochs: Count
    frames: int | str | None  # `length.frames_in`
    budget: str | None  # `length.seconds_in`
    batch_size: Count
    seed: Seed
    checkpoint: Place | None
    checkpoint_key: str | None
    checkpoint_pos_mode: str | None
    resume: bool | Literal["auto"] | None
    wait: bool
    label: Label | None
    baseline: bool
    dry_run: bool
    output: Place
    table: str | int | None
    seeds: Seed | list[Seed] | None
    diff: Commit | None
    since: Commit | None
    readme: bool
    verify: bool
    device: Device
    num_workers: FromZero | None


class Views:
    """`views` of a method's yaml; the keys of a crop are those of datasets/views.py."""

    globals: list[dict[str, Any]]
    locals: list[dict[str, Any]]
    precrop: dict[str, Any] | None


class Trainer:
    """configs/trainer/default.yaml."""

    devices: Literal["auto", -1] | Count | list[FromZero]
    num_nodes: Count
    precision: Precision
    log_every_n_steps: Count
    checkpoint_minutes: Annotated[float, AtLeast(0)]
    augment: Literal["worker", "device"]
    strategy: str | dict[str, Any]
    logger: str | list[str | dict[str, Any]] | None
    callbacks: list[str | dict[str, Any]]
    stop_signals: list[Literal["TERM", "HUP", "USR1", "USR2"]]
    profiler: Literal["simple", "advanced", "pytorch"] | None


class Analyze:
    """`analyze` of configs/run.yaml."""

    detector: str
    interval: Positive


class Visualize:
    """`visualize` of configs/run.yaml."""

    num_clips: Count
    num_frames: Count
    num_objects: Count
    short_side: Count | None


class SubmitResult:
    """`submit_result` of configs/run.yaml: shares, as GOT-10k's server prints them."""

    mao: float | None
    msr50: float | None
    msr75: float | None


class Compare:
    """`compare` of configs/run.yaml."""

    methods: list[str] | None
    checkpoints: list[Place] | None
    labels: list[Label] | None
    match: Literal["frames", "flop", "both"]
    name: Label | None


GROUPS: dict[str, type] = {
    "compare": Compare,
    "trainer": Trainer,
    "analyze": Analyze,
    "visualize": Visualize,
    "submit_result": SubmitResult,
}

# What a number of an evaluation, or of a backbone, can be by the name of its keyword; a method looks at its own.
RATE, SHARE, FROM_ZERO = AtLeast(0, 1000), AtLeast(0, 1), AtLeast(0)
RANGES: dict[str, AtLeast | Above] = {
    **dict.fromkeys(("lr", "min_lr", "warmup_lr", "weight_decay"), RATE),
    **dict.fromkeys(("layer_decay", "label_smoothing", "erasing", "grey", "flip", "flip_each"), SHARE),
    **dict.fromkeys(
        ("mixup", "cutmix", "head_std", "encoder_lr_scale", "centre_jitter", "scale_jitter", "tolerance"), FROM_ZERO
    ),
    **dict.fromkeys(("temperature", "factor", "stride_seconds"), Above(0)),
    "drop_path": AtLeast(0, 0.99),  # at 1 a block would be divided by nothing
}
