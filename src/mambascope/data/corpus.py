"""What training may show: facts in their seen phrasings, passages and lists about invented people, encyclopedia text."""

import gzip
from collections.abc import Callable, Iterator
from functools import cache
from random import Random

from mambascope.data.document import Document
from mambascope.data.facts import atlas_file, bundled_facts, prompts, seen_phrasings
from mambascope.data.lists import copy_list, ledger
from mambascope.data.passages import training_passage

POOL = 20_000
POOL_SEED = 20240
KINDS = ("facts", "passages", "encyclopedia", "copies", "ledgers")


def fact_documents() -> Iterator[Document]:
    """Every fact in every phrasing that training may show."""
    for fact in bundled_facts():
        texts = prompts(fact)
        yield from (Document.of([(texts[i], f" {fact.object}.")]) for i in seen_phrasings(fact))


def generated(make: Callable[[Random], Document], count: int = POOL) -> Iterator[Document]:
    """A pool of generated documents; each depends on the seed and its index alone."""
    yield from (make(Random(f"{POOL_SEED}/{i}")) for i in range(count))


def passage_documents(count: int = POOL) -> Iterator[Document]:
    """The pool of passages."""
    yield from generated(lambda rng: training_passage(rng).document(), count)


def encyclopedia_documents() -> Iterator[Document]:
    """The lines of the encyclopedia file; nothing in them is sure to follow."""
    with (
        atlas_file("encyclopedia.txt.gz").open("rb") as raw,
        gzip.open(raw, "rt", encoding="utf-8") as text,
    ):
        yield from (Document(line.rstrip("\n")) for line in text)


@cache
def training_strings() -> dict[str, tuple[str, ...]]:
    """The text of every document that training may show, by kind: nothing else is ever in a batch."""
    return {kind: tuple(document.text for document in documents_of(kind)) for kind in KINDS}


@cache
def documents_of(kind: str) -> tuple[Document, ...]:
    """Every document of one kind."""
    makers = {
        "facts": fact_documents,
        "passages": passage_documents,
        "encyclopedia": encyclopedia_documents,
        "copies": lambda: generated(copy_list),
        "ledgers": lambda: generated(ledger),
    }
    return tuple(makers[kind]())
