"""The command line as Hydra gets it, and configurations as plain dictionaries."""

from longtake.engine.config import plainly, quoted


def test_names_of_commits_are_quoted_for_hydra() -> None:
    words = ["run", "task=leaderboard", "diff=HEAD~1", "output=a~b"]
    assert quoted(words) == ["run", "task=leaderboard", 'diff="HEAD~1"', "output=a~b"]
    assert quoted(quoted(words)) == quoted(words)
    assert plainly(quoted(words)[1:3])["diff"] == "HEAD~1"


def test_a_plain_configuration_is_the_callers_own() -> None:
    plainly(["method=dora"])["method"]["name"] = "changed"
    assert plainly(["method=dora"])["method"]["name"] == "dora"
