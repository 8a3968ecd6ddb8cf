"""Sentences and tokens of a passage, by rules that need no model: a sentence is what the categories count as a fact."""

import re
from functools import lru_cache

END = re.compile(r"""[.!?](?:["'”’)\]]|\[[\w ]+\])*(?=\s+["'“‘(\[]?[A-Z0-9])|\n+""")
# A full stop after these ends no sentence: titles, initials, and what stands before a number or a name.
SHORT = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|Rev|Hon|Gen|Col|Maj|Capt|Lt|Sgt|Gov|Sen|Rep|Pres|St|Mt|Ft|Jr|Sr|No|Nos|vs|ca|c|"
    r"approx|Inc|Ltd|Co|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec|Fig|Vol|pp|e\.g|i\.e|U\.S|U\.K|U\.N|a\.m|p\.m))\.$"
)
TOKEN = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=256)  # a paragraph of SQuAD has several questions, one after the other
def sentence_spans(passage: str) -> tuple[tuple[int, int], ...]:
    """(start, end) of each sentence in the passage, in characters, without the white space around it."""
    spans, start = [], 0
    for end in (*_ends(passage), len(passage)):
        piece = passage[start:end]
        if piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            spans.append((first, first + len(piece.strip())))
        start = end
    return tuple(spans)


@lru_cache(maxsize=256)
def count_tokens(passage: str) -> int:
    """Words and punctuation marks."""
    return len(TOKEN.findall(passage))


def _ends(passage: str) -> list[int]:
    return [
        found.end()
        for found in END.finditer(passage)
        if not SHORT.search(passage[max(0, found.start() - 10) : found.end()])
    ]
