"""`run --help`: what a command can say. The choices are the names of yamls, of packages outside too; the keys stand in the
yamls with their comments, and are shown as they stand there."""

from importlib.resources import files
from itertools import takewhile

from longtake.engine.config import CONFIG_MODULE, CONFIG_NAME, GROUPS, choices, config_folders

USAGE = """\
One long take in, a leaderboard out: pretrain an image encoder on video, measure it, add a row to the leaderboards.

  run                                                   the mini walking tour, everything by default
  run pretrain=video pretrain.path=a.mp4                your own video (or [a.mp4,b.mp4])
  run checkpoint=outputs/RUN/encoder.safetensors        evaluate what exists
  run -m method=none,dino seed=0,1,2                    a comparison
  run dry_run=true ...                                  only say what would be done
"""
FLAGS = """\
  -m, --multirun        a run for each value of key=a,b, and for each combination
  --cfg job             print the configuration; --resolve, --package method
  --config-dir FOLDER   yamls of your own, laid out as configs/ is
  --info config         where the configuration comes from
  -sc install=bash      print what completes words by Tab: eval "$(run -sc install=bash)"
  --version             longtake's and Hydra's
  --hydra-help          all of Hydra's flags
"""
WIDTH = 100


def overview() -> str:
    """The text."""
    chosen = "\n".join(_listed(group, choices(group)) for group in GROUPS)
    parts = {
        "What can be chosen; the keys of a choice with their defaults: run --help method=dora": chosen,
        "Keys": _keys(f"{CONFIG_NAME}.yaml"),
        "Keys of trainer": _keys("trainer/default.yaml", "trainer."),
        "Flags": FLAGS,
    }
    return "\n".join([USAGE, *(f"{title}:\n{text}" for title, text in parts.items())]).rstrip()


def head(yaml: str) -> str:
    """The comment at the beginning of a yaml, in one line; the first of them where several folders have one."""
    place = next((file for folder in config_folders() if (file := folder / yaml).is_file()), None)
    lines = place.read_text(encoding="utf-8").splitlines() if place else []
    comments = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in comments if not line.startswith("# @package"))


def _listed(group: str, names: list[str]) -> str:
    """A group and its choices, in lines that are not too long."""
    lines = [f"  {group + '=':<12}"]
    for name in names:
        if len(lines[-1]) + len(name) > WIDTH:
            lines.append(" " * 14)
        lines[-1] += f"{name} "
    return "\n".join(line.rstrip() for line in lines)


def _keys(yaml: str, prefix: str = "") -> str:
    """The keys of a yaml and their comments, without what is Hydra's: the `defaults` at its top and `hydra` at its end."""
    text = files(CONFIG_MODULE).joinpath(yaml).read_text(encoding="utf-8")
    body = text.partition("\n\n")[2].partition("\nhydra:")[0] if yaml == f"{CONFIG_NAME}.yaml" else text
    lines = body.rstrip().split("\n")
    return "".join(f"  {'' if line.startswith((' ', '#')) else prefix}{line}\n" for line in lines)
