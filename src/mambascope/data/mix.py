"""The training mix: batches of whole documents of every kind, in shares that follow a curriculum.

A batch is a pure function of (seed, step), so that a training that was killed goes on bit for bit.
How: each kind of document is an endless stream, epoch after epoch, each epoch a seeded permutation
of the same documents and so of the same length in tokens. The curriculum says how many tokens of the stream
come before each step; the step takes the documents that begin between its own mark and the next one's,
and every document is met exactly once per epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mambascope.data.corpus import KINDS, documents_of
from mambascope.data.document import Document
from mambascope.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST_DOCUMENT = 256
FREE_WEIGHT = 0.1


@dataclass(frozen=True, kw_only=True)
class MixWeights:
    """Each kind's share of the tokens, relative to the others."""

    facts: float = 0.0
    passages: float = 0.0
    encyclopedia: float = 0.0
    copies: float = 0.0
    ledgers: float = 0.0

    def shares(self) -> NDArray[np.float64]:
        """The shares in the order of KINDS; they sum to 1. Raises DataError if none is above 0."""
        given = np.array([getattr(self, kind) for kind in KINDS], dtype=float)
        if (given < 0).any() or not given.sum() > 0:
            raise DataError(f"a mix needs shares of 0 or more, one of them above 0, not {self}")
        return given / given.sum()


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of a curriculum: so many steps with one mix."""

    steps: int
    mix: MixWeights


@dataclass(frozen=True)
class PackedBatch:
    """Whole documents one after another: all token ids, each document's number of tokens, each token's weight in the loss."""

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class TokenisedDocument:
    """A document's token ids, and each token's weight in the loss."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class DocumentStream:
    """One kind of documents, tokenised, in endless shuffled epochs.

    marks: at the first step of each phase, and after the last, how many of its tokens come before
    """

    documents: Sequence[TokenisedDocument]
    steps: NDArray[np.int64]
    marks: NDArray[np.float64]
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

    def at(self, step: int) -> list[TokenisedDocument]:
        """The documents of one step."""
        first, last = (int(np.interp(s, self.steps, self.marks)) for s in (step, step + 1))
        found: list[TokenisedDocument] = []
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
        curriculum: Sequence[Phase],
        seed: int = 0,
    ) -> None:
        """Tokenises every document once. A batch has `tokens_per_batch` tokens on average."""
        shares = np.stack([phase.mix.shares() for phase in curriculum])
        steps = np.array([phase.steps for phase in curriculum])
        bounds = np.concatenate([[0], np.cumsum(steps)])
        marks = np.cumsum(shares * tokens_per_batch * steps[:, None], axis=0)
        marks = np.concatenate([np.zeros((1, len(KINDS))), marks])
        self.steps = int(steps.sum())
        self.streams = {
            kind: DocumentStream(
                tokenised(tokenizer, documents_of(kind)), bounds, marks[:, i], (seed, i)
            )
            for i, kind in enumerate(KINDS)
            if shares[:, i].any()
        }
        _check_size(self.streams, shares * tokens_per_batch)

    def batch(self, step: int) -> PackedBatch:
        """The batch of a step: depends on the seed and `step` only. Raises DataError past the curriculum's end."""
        if not 0 <= step < self.steps:
            raise DataError(f"the curriculum has steps 0 to {self.steps - 1}, not {step}")
        documents = [document for stream in self.streams.values() for document in stream.at(step)]
        lengths = np.array([len(document) for document in documents], dtype=np.int64)
        return PackedBatch(
            np.concatenate([document.ids for document in documents]),
            lengths,
            np.concatenate([document.weights for document in documents]),
        )


def _check_size(streams: dict[str, DocumentStream], budgets: NDArray[np.float64]) -> None:
    """In each phase at least one kind must begin a document in every batch."""
    longest = [max(map(len, streams[k].documents)) if k in streams else np.inf for k in KINDS]
    surplus = (budgets / np.array(longest)).max(axis=1)
    if surplus.min() < 1:
        needed = int(np.ceil(budgets.sum(axis=1).max() / surplus.min()))
        raise DataError(f"tokens_per_batch must be at least {needed} for this curriculum")


def tokenised(
    tokenizer: "PreTrainedTokenizerBase", documents: Sequence[Document]
) -> list[TokenisedDocument]:
    """Each document, followed by the end-of-text id, cut at the longest length allowed."""
    rows = tokenizer(
        [document.text for document in documents],
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
    )
    return [
        TokenisedDocument(
            np.array([*ids, tokenizer.eos_token_id][:LONGEST_DOCUMENT], dtype=np.int64),
            token_weights(document, offsets)[:LONGEST_DOCUMENT],
        )
        for document, ids, offsets in zip(
            documents, rows["input_ids"], rows["offset_mapping"], strict=True
        )
    ]


def token_weights(document: Document, offsets: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """1 for the tokens that begin in a decided span, FREE_WEIGHT for all others, the end of the text included."""
    begins = np.array([begin for begin, _ in offsets])
    weights = np.full(len(begins) + 1, FREE_WEIGHT, dtype=np.float32)
    for begin, end in document.decided:
        weights[:-1][(begins >= begin) & (begins < end)] = 1.0
    return weights
