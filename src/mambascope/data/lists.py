"""Lists that repeat themselves: what a model learns first on its way to reading a passage.

A copy says a row of words twice; a ledger says pairs of a name and a word again and again, in a new order each time. Nearly
every token of the repetition follows from what was said before, so the circuits that look up earlier text form within some
hundred thousand tokens (associative recall: Arora et al. 2023, arXiv 2312.04927). Passages alone, where one token in fifteen
is an answer, do not start them.
"""

from random import Random

from mambascope.data.document import Document
from mambascope.data.invented import KINDS, training_names

SHORTEST_COPY, LONGEST_COPY = 3, 12
FEWEST_PAIRS, MOST_PAIRS = 2, 6
TIMES = 4

WORDS = tuple(answer for kind in KINDS for answer in kind.answers[:10])


def copy_list(rng: Random) -> Document:
    """Words that are answers in passages, twice in the same order; few words, for a quick start."""
    words = " ".join(rng.choices(WORDS, k=rng.randint(SHORTEST_COPY, LONGEST_COPY)))
    return Document.of([(f"List: {words} Again:", f" {words}")])


def ledger(rng: Random) -> Document:
    """Names, each with its word of one kind, four times in changing order."""
    n = rng.randint(FEWEST_PAIRS, MOST_PAIRS)
    people = rng.sample(training_names(), n)
    entries = list(zip(people, rng.sample(rng.choice(KINDS).answers, n), strict=True))
    pieces = [("List:" + "".join(f" {who}: {what}." for who, what in entries), "")]
    for _ in range(TIMES - 1):
        rng.shuffle(entries)
        pieces += [(f" {who}:", f" {what}.") for who, what in entries]
    return Document.of(pieces)
