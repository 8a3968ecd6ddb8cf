"""Bands of ranks as they are written."""

import pytest

from mambascope.errors import ConfigError
from mambascope.ranks import read_ranks


@pytest.mark.parametrize(
    ("text", "ranks"),
    [("1", [1]), ("<=3", [1, 2, 3]), (" 2 - 5", [2, 3, 4, 5]), ("7", [7]), ("<= 1", [1])],
)
def test_bands_are_read(text, ranks):
    assert [*read_ranks(text)] == ranks


@pytest.mark.parametrize("text", ["", "0", "<=0", "0-3", "5-2", ">=2", "<3", "1,2", "<=2-3", "-3"])
def test_anything_else_is_an_error(text):
    with pytest.raises(ConfigError, match="ranks"):
        read_ranks(text)
