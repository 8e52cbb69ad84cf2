"""The configuration of a run's yamls before a value is changed, and what a recipe among them sets."""

from collections.abc import Mapping
from typing import Any

from hydra.core.hydra_config import HydraConfig

from longtake.engine.config import choices, composed, plainly
from longtake.engine.identity import TRAINING, Config, changes

NONE = "none"  # the choice of no recipe, of no experiment


def recipe_of(config: Config, chosen: Mapping[str, str] | None = None) -> Config:
    """The same choice of method, backbone, data, recipe and evaluations, with no value changed (but for `fidelity`).

    Its key `recipe` names a recipe that is not that of the data: it is a word of the variant. `chosen` are the choices of the
    configuration, by group; those of this job if None.
    """
    chosen = chosen or _chosen()
    words = _choices(config, chosen)
    recipe, usual = chosen["recipe"], _recipe_of_data(words)
    other = [] if recipe == usual else [f"recipe={recipe}"]
    return {**plainly([*words, *other, f"eval=[{','.join(config['eval'])}]"]), "recipe": recipe if other else None}


def _recipe_of_data(words: list[str]) -> str:
    """The recipe that these choices have unless another is named."""
    return str(composed(words, hydra=True).hydra.runtime.choices["recipe"])


def experiment() -> str:
    """The name of this job's experiment; "" for none, and where there is no job."""
    name = HydraConfig.get().runtime.choices["experiment"] if HydraConfig.initialized() else NONE
    return "" if name == NONE else name


def recipe_said(config: Config, chosen: Mapping[str, str] | None = None) -> str:
    """Say what the recipe, chosen by hand or with the data, sets: `mini/vit_mini_dora: num_frames 8 -> 2, ...`.

    `chosen` are the choices of the configuration, by group; those of this job if None.
    """
    chosen = chosen or _chosen()
    name, own = chosen["recipe"], f"{chosen['backbone']}_{chosen['method']}"
    if name == NONE:
        return ""
    words = [*_choices(config, chosen), "eval=[]"]
    without, with_it = (_training(plainly([*words, f"recipe={recipe}"])) for recipe in (NONE, name))
    overridden, before = changes(_training(config), with_it), changes(without, with_it)
    set_here = {key: value for key, value in changes(with_it, without).items() if key not in overridden}
    said = dict.fromkeys(_said(key, before[key], value) for key, value in set_here.items())
    whole = own in choices(f"recipe/{name}")
    label = f"{name}/{own}" if whole else f"{name}, which has nothing for {chosen['method']} on {chosen['backbone']}"
    return f"{label}: {', '.join(said) or 'all of it is overridden'}"


def _chosen() -> Mapping[str, str]:
    return HydraConfig.get().runtime.choices


def _choices(config: Config, chosen: Mapping[str, str]) -> list[str]:
    """The words that choose what is trained and on what."""
    words = [f"{group}={chosen[group]}" for group in ("method", "backbone", "pretrain")]
    fidelity = config["method"].get("fidelity")
    return words if fidelity is None else [*words, f"method.fidelity={fidelity}"]


def _training(config: Config) -> Config:
    return {key: config[key] for key in TRAINING}


def _said(key: str, before: Any, after: Any) -> str:
    """A change in words. Views are too long for a line."""
    if key.startswith("method.views."):
        return "its own views"
    return f"{key.removeprefix('method.')} {_yaml(before)} -> {_yaml(after)}"


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
