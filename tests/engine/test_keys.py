"""Every keyword of a chosen class is a key, listed or not; a yaml that lists a default says nothing new, and so none does."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from omegaconf import DictConfig, OmegaConf

import longtake.configs
from longtake.backbones.vit import ViT
from longtake.downstream.base import DOWNSTREAM
from longtake.engine.config import NOT_ARGUMENTS, allow_keywords, choices, composed, plain, plainly
from longtake.engine.hints import fits, in_words
from longtake.engine.identity import config_hash, protocol_suffix, variant
from longtake.engine.keywords import GIVEN, NO_DEFAULT, keywords, of_no_class, plain_value, sections
from longtake.engine.words import as_typed
from longtake.methods.base import METHODS, Method
from longtake.methods.dora import DoRA

CONFIGS = Path(longtake.configs.__file__).parent
TRAINED = [name for name in choices("method") if name != "none"]


def test_keywords_are_those_of_the_class_and_of_what_it_passes_on_to():
    found = keywords(DoRA)
    assert found["num_objects"] == (3, int)  # its own
    assert found["norm_last_layer"].default is False  # its own, where DINO's is True
    assert found["out_dim"].default == 65536  # DINO's
    assert found["health_every"].default == 10  # Method's
    assert "self" not in found
    assert "recipe" not in found

    class Closed(Method):
        def __init__(self, backbone: ViT, duration: Any, *, width: int = 3) -> None:
            super().__init__(backbone, duration, lr=1.0)

    assert keywords(Closed).keys() == {"backbone", "duration", "width"}  # passes nothing on
    assert keywords(DOWNSTREAM["upernet"])["taps"].default == [3, 5, 7, 11]
    assert keywords(DOWNSTREAM["upernet"])["root"].default is NO_DEFAULT


@pytest.mark.parametrize(
    "word",
    [
        "method.optimizer=sgd",
        "method.lr=1e-3",
        "eval.knn_mini.progress=false",
        "backbone.mask_token=true",
        "pretrain.faces=blur",
    ],
)
def test_a_keyword_that_no_yaml_lists_is_a_key(word: str):
    place, _, value = word.partition("=")
    found: Any = plainly([word])
    for name in place.split("."):
        found = found[name]
    assert str(found).lower() in (value, "0.001")
    assert allow_keywords([word]) == [f"++{word}"]
    assert as_typed(allow_keywords([word])) == [word]


@pytest.mark.parametrize(
    "word",
    [
        "+method.lr=1",
        "++method.lr=1",
        "~method.lr",
        "method.views.locals=[]",
        "method.fidelity=paper",
        "method=dora",
        "epochs=1",
    ],
)
def test_other_words_stay_as_they_are(word: str):
    assert allow_keywords([word]) == [word]


@pytest.mark.parametrize("name", [*TRAINED, "official"])
def test_a_default_that_a_yaml_lists_changes_nothing(name: str):
    words = ["method=dora", "method.fidelity=official"] if name == "official" else [f"method={name}"]
    config = composed([*words, "eval=[knn_mini,seqtrack_mini]"])
    whole = plain(config)
    for more in (_with_defaults(config, listed=True), _with_defaults(config, listed=False)):
        assert plain(more) == whole
        assert config_hash(plain(more)) == config_hash(whole)
        assert variant(plain(more), whole) == variant(whole, plain(more))
        for task, keys in plain(more)["eval"].items():
            assert protocol_suffix(keys, whole["eval"][task]) == ""


def _with_defaults(config: DictConfig, *, listed: bool) -> DictConfig:
    """The same with every keyword that has the class's default listed, in integers where they are equal, or with none of them."""
    made = config.copy()
    OmegaConf.set_struct(made, False)
    whole = plain(config)
    for part in sections(whole):
        for key, keyword in part.keywords.items():
            if keyword.default is NO_DEFAULT or part.of(whole)[key] != plain_value(keyword.default):
                continue
            if OmegaConf.is_interpolation(part.of(made), key):
                continue
            default = plain_value(keyword.default)
            if listed:
                part.of(made)[key] = int(default) if isinstance(default, float) and default.is_integer() else default
            elif key in part.of(made):
                del part.of(made)[key]
    return made


YAMLS = sorted([*CONFIGS.glob("method/*.yaml"), *CONFIGS.glob("eval/*.yaml")])


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_no_yaml_repeats_a_default(path: Path):
    """But where a yaml that it builds on has another value."""
    given, inherited = _loaded(path), dict[str, Any]()
    for parent in given.pop("defaults", []):
        inherited |= {} if parent == "_self_" else _loaded(path.with_name(f"{parent.partition('@')[0]}.yaml"))
    whole = inherited | given
    if whole.get("name") == "none":
        assert given == {"name": "none"}
        return
    cls = METHODS[whole["name"]] if path.parent.name == "method" else DOWNSTREAM[whole["task"]]
    known = {key: plain_value(keyword.default) for key, keyword in keywords(cls).items() if key not in NOT_ARGUMENTS}
    repeated = [
        key for key, value in given.items() if key in known and value == known[key] == inherited.get(key, value)
    ]
    assert not repeated, f"{path.name} repeats defaults of {cls.__name__}: leave out {', '.join(repeated)}"


def _loaded(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("method.num_objects=three", "method.num_objects: got 'three', expected an integer"),
        ("method.num_objects=2.5", "method.num_objects: got 2.5, expected an integer"),
        ("method.num_frames=two", "method.num_frames: got 'two', expected an integer"),
        ("method.tracking=1", "method.tracking: got 1, expected true or false"),
        ("method.lr=true", "method.lr: got True, expected a number"),
        ("method.lr=null", "method.lr: got null, expected a number"),
        ("method.momentun=1", "unknown argument of method dora: 'momentun'. Did you mean momentum"),
        ("method.seed=1", "unknown argument of method dora: 'seed'"),
        ("eval.knn_mini.size=64.5", "eval.knn_mini.size: got 64.5, expected an integer"),
        ("eval.knn_mini.sise=64", "unknown key of evaluation knn: 'sise'. Did you mean size or resize?"),
        ("eval.knn_minni.size=64", "unknown evaluation among those chosen: 'knn_minni'. Did you mean knn_mini"),
        ("backbone.pos_mode=sise", "backbone.pos_mode: got 'sise', expected size or dino_offset"),
        ("backbone.arhc=small", "unknown key of backbone: 'arhc'. Did you mean arch?"),
        (
            "pretrain=video pretrain.path=[1,2]",
            "pretrain.path: got [1, 2], expected a path or a list of paths or null",
        ),
        ("pretrain=video pretrain.pathh=a.mp4", "unknown key of source video: 'pathh'. Did you mean path?"),
        ("~pretrain.name", "pretrain.name: expected a string, got nothing"),
    ],
)
def test_what_is_wrong_is_said_with_what_is_expected(word: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        plainly(word.split(" "))
    assert "\n" not in str(caught.value)


def test_numbers_may_be_integers_and_machines_keys_may_be_open():
    assert plainly(["method.lr=1"])["method"]["lr"] == 1
    assert plainly(["eval.knn_mini.num_workers=null"])["eval"]["knn_mini"]["num_workers"] is None
    assert plainly(["method=simclr", "method.hidden_dim=null"])["method"]["hidden_dim"] is None


@pytest.mark.parametrize(
    ("hint", "right", "wrong", "words"),
    [
        (int | None, [3, None], [3.0, True, "3"], "an integer or null"),
        (float, [3, 0.5], [False, None, "3"], "a number"),
        (list[int], [[], [1]], [[1.5], 1, "1"], "a list of integers"),
        (Sequence[str], [["a"]], ["a", [1]], "a list of strings"),
        (float | list[float], [0.1, [1, 0.2]], [["a"], "a"], "a number or a list of numbers"),
        (tuple[float, float, int], [[1, 0.5, 3]], [[1, 2], [1, 2, 3.5]], "a list of 3: a number, a number, an integer"),
        (dict[str, int], [{}, {"fpn": 3}], [{"fpn": 0.5}, [3]], "keys with integers"),
        (Literal["a", "b"], ["a"], ["c", None], "a or b"),
        (Any, [1, None, "a"], [], "Any"),
    ],
)
def test_values_are_held_against_annotations(hint: Any, right: list, wrong: list, words: str):
    assert all(fits(value, hint) for value in right)
    assert not any(fits(value, hint) for value in wrong)
    assert in_words(hint) == words


EVALUATIONS = {plain(composed([f"eval=[{name}]"]))["eval"][name]["task"] for name in ("knn_mini", "linear_mini")} | {
    "finetune", "upernet", "cascade_mask_rcnn", "seqtrack", "lost", "davis", "dense_knn", "own_video", "logreg",
}  # fmt: skip


def numbers() -> list[tuple[str, Any]]:
    """Every keyword of every class, and every key of no class, that takes numbers with a fraction."""
    classes = [*(METHODS[name] for name in TRAINED), *(DOWNSTREAM[name] for name in EVALUATIONS), ViT]
    found = [(f"{cls.__name__}.{key}", keyword.hint) for cls in classes for key, keyword in keywords(cls).items()]
    found += [(f"{part.place}.{key}", keyword.hint) for part in of_no_class() for key, keyword in part.keywords.items()]
    found = [(name, hint) for name, hint in found if name.rpartition(".")[2] not in GIVEN]
    return [(name, hint) for name, hint in found if hint is not Any and (fits(0.5, hint) or fits([0.5], hint))]


def test_no_key_takes_a_number_that_is_not_finite() -> None:
    assert len(numbers()) > 100
    for value in (math.nan, math.inf, -math.inf):
        assert [name for name, hint in numbers() if fits(value, hint) or fits([value], hint)] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("method.lr=nan", "method.lr: got nan, expected a number (finite)"),
        ("method.weight_decay=inf", "method.weight_decay: got inf, expected a number (finite)"),
        ("method.student_temp=-inf", "method.student_temp: got -inf, expected a number (finite)"),
        (
            "trainer.checkpoint_minutes=nan",
            "trainer.checkpoint_minutes: got nan, expected a number of at least 0 (finite)",
        ),
        ("eval=[upernet_mini] eval.upernet_mini.lr=nan", "eval.upernet_mini.lr: got nan, expected a number (finite)"),
        (
            "eval=[linear_mini] eval.linear_mini.learning_rates=[0.1,nan]",
            "eval.linear_mini.learning_rates: got nan, expected a list of numbers (finite)",
        ),
        ("pretrain=video pretrain.stride_seconds=inf", "pretrain.stride_seconds: got inf, expected a number"),
    ],
)
def test_what_is_given_so_is_named_before_any_compute(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plainly(words.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "eval=[upernet_mini] eval.upernet_mini.lr=-1",
            "eval.upernet_mini.lr: got -1, expected a number from 0 to 1000",
        ),
        (
            "eval=[finetune_mini] eval.finetune_mini.lr=1e30",
            "eval.finetune_mini.lr: got 1e+30, expected a number from 0 to",
        ),
        ("eval=[seqtrack_mini] eval.seqtrack_mini.weight_decay=-1", "got -1, expected a number from 0 to 1000"),
        ("eval=[dense_knn_mini] eval.dense_knn_mini.temperature=0", "got 0, expected a number above 0"),
        ("backbone.drop_path=1", "backbone.drop_path: got 1, expected a number from 0 to 0.99"),
        ("eval=[upernet_mini] eval.upernet_mini.drop_path=-0.1", "got -0.1, expected a number from 0 to 0.99"),
    ],
)
def test_numbers_of_evaluations_and_backbones_have_their_ranges(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plainly(words.split())
