"""Which questions are kept: a random choice that depends on seed and ids alone, not on the order in which they were read.

Every question has a rank, a hash of the seed and its id; the lowest ranks are kept. Categories, and then data sets, take turns.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest

from mambascope.data.question import CATEGORIES, Category, Question

Ranked = tuple[bytes, str, Question]  # rank, id: no two are equal, so questions are never compared
Group = tuple[str, Category | None]
ORDER: tuple[Category | None, ...] = (*CATEGORIES, None)
SLACK = 1000  # more than are needed are held for a while, so that sorting is rare


class Pool:
    """Questions to choose from, of which few more are held than can be chosen.

    per_dataset:  at most so many of each data set, in turn from its categories; those without one only fill up. None: all
    per_category: at most so many of each category, in turn from the data sets. None: all
    """

    def __init__(self, seed: int, per_dataset: int | None, per_category: int | None) -> None:
        self.seed, self.per_dataset, self.per_category = seed, per_dataset, per_category
        self._limit = per_category if per_dataset is None else per_dataset
        self._groups: dict[Group, list[Ranked]] = {}

    def add(self, question: Question) -> None:
        """One more to choose from."""
        rank = hashlib.sha256(f"{self.seed}/{question.id}".encode()).digest()
        group = self._groups.setdefault((question.dataset, question.category), [])
        group.append((rank, question.id, question))
        if self._limit is not None and len(group) > self._limit + SLACK:
            group[:] = sorted(group)[: self._limit]

    def chosen(self) -> list[Question]:
        """What is kept, by data set, category and rank."""
        ranked = {group: sorted(found) for group, found in self._groups.items()}
        datasets = sorted({dataset for dataset, _ in ranked})
        kept = [r for dataset in datasets for r in self._of_dataset(ranked, dataset)]
        last = chain(*(self._of_category(kept, datasets, category) for category in ORDER))
        order = sorted(last, key=lambda r: (r[2].dataset, ORDER.index(r[2].category), r[:2]))
        return [question for _, _, question in order]

    def _of_dataset(self, ranked: dict[Group, list[Ranked]], dataset: str) -> list[Ranked]:
        with_category = _in_turn([ranked.get((dataset, category), []) for category in CATEGORIES])
        order = chain(with_category, ranked.get((dataset, None), []))
        return list(islice(order, self.per_dataset))

    def _of_category(
        self, kept: Iterable[Ranked], datasets: Sequence[str], category: Category | None
    ) -> list[Ranked]:
        own = [r for r in kept if r[2].category == category]
        order = _in_turn([[r for r in own if r[2].dataset == dataset] for dataset in datasets])
        return list(islice(order, self.per_category))


def _in_turn(groups: Sequence[Sequence[Ranked]]) -> Iterator[Ranked]:
    return (r for r in chain.from_iterable(zip_longest(*groups)) if r is not None)
