"""Which questions are kept, against a plain sort of all of them."""

import hashlib
from collections import Counter
from random import Random

import pytest

from mambascope.data.qa import select
from mambascope.data.qa.select import Pool
from mambascope.data.question import CATEGORIES, Category, Question

SIZES = {
    ("squad", "simple_recall"): 50,
    ("squad", "stress"): 3,
    ("squad", None): 40,
    ("nq", "stress"): 20,
    ("nq", None): 5,
    ("drop", "reasoning_memory"): 30,
}


def asked(dataset: str, category: Category | None, number: int) -> Question:
    name = f"{dataset}-{category}-{number}"
    return Question(
        id=name, dataset=dataset, question="q", passages=(), answers=("a",), origin="o", category=category
    )  # fmt: skip


EVERY = [
    asked(dataset, category, number)
    for (dataset, category), size in SIZES.items()
    for number in range(size)
]


def kept(per_dataset: int | None, per_category: int | None, seed: int = 0, shuffle: int = 0):
    pool = Pool(seed, per_dataset, per_category)
    for question in Random(shuffle).sample(EVERY, len(EVERY)):
        pool.add(question)
    return pool.chosen()


def counts(questions: list[Question]) -> dict:
    return dict(Counter((question.dataset, question.category) for question in questions))


def test_without_limits_all_are_kept_by_data_set_category_and_rank():
    def key(question: Question):
        place = CATEGORIES.index(question.category) if question.category else 99
        return question.dataset, place, hashlib.sha256(f"5/{question.id}".encode()).digest()

    assert kept(None, None, seed=5) == sorted(EVERY, key=key)


@pytest.mark.parametrize(
    ("per_dataset", "per_category", "expected"),
    [
        (10, None, {("drop", "reasoning_memory"): 10, ("nq", "stress"): 10, ("squad", "simple_recall"): 7,
                    ("squad", "stress"): 3}),
        (55, None, {**SIZES, ("squad", None): 2}),
        (None, 4, {("drop", "reasoning_memory"): 4, ("nq", "stress"): 2, ("squad", "stress"): 2, ("squad", "simple_recall"): 4,
                   ("nq", None): 2, ("squad", None): 2}),
        (None, 9, {("drop", "reasoning_memory"): 9, ("nq", "stress"): 6, ("squad", "stress"): 3, ("squad", "simple_recall"): 9,
                   ("nq", None): 5, ("squad", None): 4}),
        (10, 6, {("drop", "reasoning_memory"): 6, ("nq", "stress"): 3, ("squad", "stress"): 3, ("squad", "simple_recall"): 6}),
    ],
)  # fmt: skip
def test_categories_and_data_sets_take_turns_and_the_uncategorised_fill_up(
    per_dataset, per_category, expected: dict
):
    assert counts(kept(per_dataset, per_category)) == expected


def test_the_lowest_ranks_of_each_group_are_kept():
    whole = kept(None, None)
    for question in kept(10, 6):
        group = [q for q in whole if (q.dataset, q.category) == (question.dataset, question.category)]  # fmt: skip
        assert group.index(question) < 7


@pytest.mark.parametrize("limits", [(None, None), (10, None), (None, 4), (10, 6), (1, 1)])
def test_neither_the_order_of_reading_nor_how_many_are_held_changes_the_choice(limits, monkeypatch):
    expected = kept(*limits)
    monkeypatch.setattr(select, "SLACK", 1)
    assert kept(*limits, shuffle=1) == kept(*limits, shuffle=2) == expected


def test_another_seed_keeps_others():
    assert kept(10, None, seed=1) != kept(10, None, seed=2)
