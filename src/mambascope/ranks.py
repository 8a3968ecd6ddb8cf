"""Bands of ranks that an answer's first token may have among all tokens, 1 being the top: "1", "<=3", "2-5"."""

import re

from mambascope.errors import ConfigError

BAND = re.compile(r"(?P<most><=)?(?P<first>\d+)(-(?P<last>\d+))?")


def read_ranks(text: str) -> range:
    """The ranks of a band; ConfigError if it is none."""
    found = BAND.fullmatch(text.replace(" ", ""))
    if found is None or (found["most"] and found["last"]):
        raise ConfigError(f"ranks are given as 1, <=3 or 2-5, not {text!r}")
    last = int(found["last"] or found["first"])
    first = 1 if found["most"] else int(found["first"])
    if not 1 <= first <= last:
        raise ConfigError(f"ranks begin at 1 and ascend, unlike {text!r}")
    return range(first, last + 1)
