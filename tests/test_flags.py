"""Hydra's flags, in any order and with their values: what Hydra's users know works here, too."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from started import PATIENCE

import longtake
from longtake.engine import flags
from longtake.run import main

METHOD = "# Mine: DINO with another temperature.\nname: dino\nnum_frames: 1\nteacher_temp: 0.05\nviews: {globals: [], locals: []}\n"
EVALUATION = "# @package eval.knn_mine\ntask: knn\npreset: mine\nroot: mini\nsize: 64\n"
INSTALL = 'eval "$(run -sc install=bash)"'
SHELLS = {  # what is typed, what is then shown
    "bash": (
        f"{INSTALL}; COMP_LINE='run method=di'; COMP_POINT=13; COMP_CWORD=1; hydra_bash_completion; echo ${{COMPREPLY[@]}}",
        "method=dino",
    ),
    "zsh": (
        f"autoload -Uz bashcompinit compinit; compinit -u; bashcompinit; {INSTALL}; whence -w hydra_bash_completion; "
        "alias run='noglob echo'; eval 'run eval=[knn_mini]'",
        "hydra_bash_completion: function\neval=[knn_mini]",
    ),
}
COMMAND = """#!/bin/sh
exec "{python}" -c 'import sys; sys.argv[0] = "run"; from longtake.run import main; main()' "$@"
"""


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Runs `run` with exactly these words; exit code and what it printed."""
    monkeypatch.setenv("LONGTAKE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["run", *words])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A folder of yamls with a method and an evaluation of its own."""
    for path, text in {"method/mine.yaml": METHOD, "eval/knn_mine.yaml": EVALUATION}.items():
        (tmp_path / "my configs" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "my configs" / path).write_text(text)
    return str(tmp_path / "my configs")


@pytest.mark.parametrize(
    "words",
    [
        ("--cfg", "job", "epochs=3"),
        ("epochs=3", "--cfg", "job"),
        ("epochs=3", "-c", "job"),
        ("--resolve", "epochs=3", "--cfg=job"),
        ("--cfg", "job", "epochs=3", "--config-name", "run"),
    ],
)
def test_the_configuration_is_printed(typed, words):
    code, shown, error = typed(*words)
    assert code == 0, error
    assert "epochs: 3\n" in shown
    assert "precision: auto" in shown
    assert not Path("outputs").exists()


def test_a_package_of_it_is_printed(typed):
    code, shown, _ = typed("method=dino", "--package", "method", "--cfg", "job")
    assert code == 0
    assert shown.startswith("# @package method\nname: dino\n")


@pytest.mark.parametrize("flag", ["--info", "-i"])
def test_info_is_given(typed, flag):
    code, shown, error = typed("method=dino", flag, "config")
    assert code == 0, error
    assert "Config search path" in shown
    assert "longtake.configs" in shown


def test_versions_are_said(typed):
    code, shown, _ = typed("--version")
    assert code == 0
    assert longtake.__version__ in shown
    assert "Hydra 1." in shown


def test_hydras_help_is_hydras(typed):
    code, shown, _ = typed("--hydra-help")
    assert code == 0
    assert "--config-dir" in shown


@pytest.mark.parametrize("flag", ["-cd", "--config-dir"])
def test_yamls_of_a_folder_are_choices(typed, mine, flag):
    code, shown, error = typed("method=mine", flag, mine, "--cfg", "job", "-p", "method")
    assert code == 0, error
    assert "teacher_temp: 0.05" in shown
    code, _, error = typed(flag, mine, "method=mien", "dry_run=true")
    assert code == 2
    assert "unknown method 'mien'. Did you mean mine or dino?" in error
    code, _, error = typed("eval=[knn_mine]", "eval.knn_mine.sise=3", flag, mine)
    assert code == 2
    assert "unknown key of evaluation knn: 'sise'" in error
    views = "method.views.globals=[{size: 64, scale: [0.4, 1], num: 2}]"
    code, shown, error = typed("method=mine", views, "dry_run=true", flag, mine, "eval=[knn_mine]")
    assert code == 0, error
    assert "knn_mine" in shown
    assert "epochs of" in shown
    code, _, error = typed("method=mine", "dry_run=true")
    assert code == 2
    assert "unknown method 'mine'" in error


def test_a_folder_that_is_not_there_is_named(typed):
    code, _, error = typed("--config-dir", "nowhere", "dry_run=true")
    assert (code, error) == (2, "error: --config-dir nowhere: no such folder\n")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("broken", b"lr: 1\nviews: [1\nseed: {", "mine/method/broken.yaml, line 3: expected ',' or ']', but got ':'"),
        ("latin", b'label: "\xe9t\xe9"\n', "a yaml of --config-dir is no UTF-8 where it says 'label: \"\\xe9'"),
    ],
)
def test_a_yaml_that_cannot_be_read_is_one_line(typed, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / "mine" / "method").mkdir(parents=True)
    (tmp_path / "mine" / "method" / f"{name}.yaml").write_bytes(content)
    code, _, error = typed(f"method={name}", "--config-dir", str(tmp_path / "mine"), "dry_run=true")
    assert code == 2
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_what_is_wrong_beside_a_flag_is_one_line(typed):
    code, _, error = typed("--cfg", "job", "epochz=3")
    assert code == 2
    assert "Did you mean epochs?" in error
    code, _, error = typed("seed=0,1", "dry_run=true")
    assert (code, len(error.splitlines())) == (2, 1)
    assert "run -m seed=0,1" in error
    code, _, error = typed("--cgf", "job")
    assert code == 2
    assert "unrecognized arguments: --cgf" in error


def test_a_sweep_may_be_asked_for_at_the_end(typed):
    code, shown, error = typed("method=none", "seed=0,1", "dry_run=true", "--multirun")
    assert code == 0, error
    assert shown.count("randomly initialised") == 2


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_the_comments_of_the_yamls_and_all_choices(typed, mine, flag):
    code, shown, _ = typed(flag, "--config-dir", mine)
    assert code == 0
    assert " mine " in shown
    assert "knn_mine" in shown
    assert "epochs: 100                  # passes of pretrain.clips_per_epoch clips (paper B.3)" in shown
    assert "trainer.precision: auto" in shown
    assert "--config-dir" in shown


def test_help_of_a_choice_begins_with_the_comment_of_its_yaml(typed, mine):
    code, shown, error = typed("method=mine", "--help", "--config-dir", mine)
    assert code == 0, error
    assert "Mine: DINO with another temperature." in shown
    assert "method.teacher_temp" in shown


def completed(line: str, *, monkeypatch: pytest.MonkeyPatch, typed: Callable) -> set[str]:
    """What Tab offers, asked as Hydra's script for bash does."""
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, shown, error = typed("-sc", "query=bash")
    assert code == 0, error
    return set(shown.split())


def test_tab_completes_groups_choices_keys_and_files(typed, mine, monkeypatch, tmp_path):
    ask = {"monkeypatch": monkeypatch, "typed": typed}
    assert completed("run method=di", **ask) == {"method=dino"}
    assert {"epochs=", "eval="} <= completed("run e", **ask)
    assert completed("run method=dino trainer.prec", **ask) == {"trainer.precision="}
    assert completed("/usr/bin/run -m backbone=vit_m", **ask) == {"backbone=vit_mini"}
    assert completed("run epochs=3 -m backbone=vit_m", **ask) == {"backbone=vit_mini"}
    os.rename(mine, tmp_path / "mine")
    assert completed("run --config-dir mine method=mi", **ask) == {"method=mine"}
    assert completed("run method=mi --config-di", **ask) == set()
    (tmp_path / "walk.mp4").touch()
    assert completed("run pretrain=video pretrain.path=./wa", **ask) == {"pretrain.path=./walk.mp4"}


def test_flags_are_written_as_they_were_read():
    given, words = flags.read(["a=1", "-c", "job", "--resolve", "b=2", "-m"])
    assert words == ["a=1", "b=2"]
    again, _ = flags.read(flags.written(given))
    assert {**vars(again), "overrides": words} == vars(given)


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_take_what_installs_the_completion(shell: str, tmp_path: Path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    command = tmp_path / "bin" / "run"
    command.parent.mkdir()
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    env = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    words, expected = SHELLS[shell]
    done = subprocess.run(
        [program, "-c", words], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout, done.stderr
