"""Words that take a key out, or go into a list, have sentences of their own."""

import re

import pytest

from longtake.engine.command_line import check_overrides


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("~seed=3", "~seed: it has another value; ~seed alone takes the key out, seed=VALUE changes it"),
        ("~eval.knn_mini=3", "~eval.knn_mini: it has another value"),
        ("trainer.logger.name=3", "trainer.logger.name=3: one of these keys goes into a list, which has numbers"),
        ("seedd=3", "unknown key 'seedd'. Did you mean seed or seeds?"),
    ],
)
def test_no_key_is_asked_for_by_its_own_name(word: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_overrides([word])
