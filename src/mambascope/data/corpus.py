"""The training mix: facts in their seen phrasings, passages about invented people, encyclopedia text.

A batch is a pure function of (seed, step), so that a training that was killed goes on bit for bit.
How: each kind of document is an endless stream, epoch after epoch, each epoch a seeded permutation
of the same documents and so of the same length in tokens. Step s takes the documents that begin in
tokens [s b, (s + 1) b) of the stream, where b is the stream's budget per batch: found by division,
and every document is met exactly once per epoch.
"""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mambascope.data.facts import atlas_file, bundled_facts, prompts, seen_phrasings, statement
from mambascope.data.passages import training_passage
from mambascope.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_DOCUMENT = 192
PASSAGES = 20_000
PASSAGES_SEED = 20240
KINDS = ("facts", "passages", "encyclopedia")


@dataclass(frozen=True, kw_only=True)
class MixWeights:
    """Each kind's share of the tokens."""

    facts: float = 0.55
    passages: float = 0.35
    encyclopedia: float = 0.10


@dataclass(frozen=True)
class PackedBatch:
    """Whole documents one after another: all token ids, and each document's number of tokens."""

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]


def fact_documents() -> Iterator[str]:
    """Every fact in every phrasing that training may show."""
    for fact in bundled_facts():
        texts = prompts(fact)
        yield from (statement(texts[i], fact.object) for i in seen_phrasings(fact))


def passage_documents(count: int = PASSAGES, seed: int = PASSAGES_SEED) -> Iterator[str]:
    """The pool of passages; each passage depends on (seed, its index) alone."""
    yield from (training_passage(Random(f"{seed}/{i}")).document() for i in range(count))


def encyclopedia_documents() -> Iterator[str]:
    """The lines of the encyclopedia file."""
    with (
        atlas_file("encyclopedia.txt.gz").open("rb") as raw,
        gzip.open(raw, "rt", encoding="utf-8") as text,
    ):
        yield from (line.rstrip("\n") for line in text)


@cache
def training_strings() -> dict[str, tuple[str, ...]]:
    """Every document that training may show, by kind: nothing else is ever in a batch."""
    return {kind: documents_of(kind) for kind in KINDS}


@cache
def documents_of(kind: str) -> tuple[str, ...]:
    """Every document of one kind."""
    makers = {
        "facts": fact_documents,
        "passages": passage_documents,
        "encyclopedia": encyclopedia_documents,
    }
    return tuple(makers[kind]())


@dataclass
class DocumentStream:
    """One kind of documents, tokenised, in endless shuffled epochs."""

    documents: Sequence[NDArray[np.int64]]
    budget: float
    seed: tuple[int, int]
    epochs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lengths = np.array([len(document) for document in self.documents], dtype=np.int64)
        self.epoch_tokens = int(self.lengths.sum())

    def order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The epoch's permutation, and the token offset at which each of its documents begins."""
        if epoch not in self.epochs:
            chosen = np.random.default_rng([*self.seed, epoch]).permutation(len(self.documents))
            starts = np.cumsum(self.lengths[chosen]) - self.lengths[chosen]
            self.epochs = {e: v for e, v in self.epochs.items() if abs(e - epoch) <= 1}
            self.epochs[epoch] = (chosen.astype(np.int64), starts)
        return self.epochs[epoch]

    def at(self, step: int) -> list[NDArray[np.int64]]:
        """The documents of one step."""
        first, last = int(step * self.budget), int((step + 1) * self.budget)
        found: list[NDArray[np.int64]] = []
        for epoch in range(first // self.epoch_tokens, last // self.epoch_tokens + 1):
            chosen, starts = self.order(epoch)
            bounds = np.array([first, last]) - epoch * self.epoch_tokens
            low, high = np.searchsorted(starts, bounds)
            found += [self.documents[i] for i in chosen[low:high]]
        return found


class TrainingMix:
    """Batches of whole documents, by step."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        tokens_per_batch: int,
        seed: int = 0,
        weights: MixWeights | None = None,
    ) -> None:
        """Tokenises every document once. Batches stay below `tokens_per_batch` tokens."""
        weights = weights or MixWeights()
        shares = {kind: getattr(weights, kind) for kind in KINDS if getattr(weights, kind) > 0}
        encoded = {kind: tokenised(tokenizer, documents_of(kind)) for kind in shares}
        # Each stream may overshoot its budget by less than its longest document.
        reserve = sum(max(map(len, documents)) for documents in encoded.values())
        if not shares or tokens_per_batch <= 2 * reserve:
            raise DataError(f"tokens_per_batch must be above {2 * reserve}, not {tokens_per_batch}")
        usable = (tokens_per_batch - reserve) / sum(shares.values())
        self.streams = {
            kind: DocumentStream(encoded[kind], usable * share, (seed, KINDS.index(kind)))
            for kind, share in shares.items()
        }

    def batch(self, step: int) -> PackedBatch:
        """The batch of a step: depends on the seed and `step` only."""
        documents = [document for stream in self.streams.values() for document in stream.at(step)]
        lengths = np.array([len(document) for document in documents], dtype=np.int64)
        return PackedBatch(np.concatenate(documents), lengths)

    def steps_per_epoch(self, kind: str = "facts") -> float:
        """How many steps it takes to meet every document of a kind once."""
        stream = self.streams[kind]
        return stream.epoch_tokens / stream.budget


def tokenised(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]
) -> list[NDArray[np.int64]]:
    """Each text as ids, followed by the end-of-text id, cut at the longest length allowed."""
    end = tokenizer.eos_token_id
    rows = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )["input_ids"]
    return [np.array([*row, end][:LONGEST_DOCUMENT], dtype=np.int64) for row in rows]  # type: ignore[misc]
