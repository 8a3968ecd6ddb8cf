"""The parts that the data sets' rules are made of."""

import pytest

from mambascope.data.qa.classify import (
    by_length,
    by_steps,
    comparison_word,
    context_size,
    count_word,
    missing,
)
from mambascope.data.question import Passage, Question


def asked(question: str = "q", *passages: str) -> Question:
    parts = tuple(Passage("", text) for text in passages)
    return Question(
        id="i", dataset="d", question=question, passages=parts, answers=("a",), origin="o"
    )


def test_the_context_is_measured_over_all_passages():
    question = asked("q", "One is here. Two is there.", "Three is nowhere.")
    assert context_size(question) == (3, 12)


@pytest.mark.parametrize(
    ("facts", "category"),
    [(4, None), (5, "long_context"), (7, "long_context"), (8, None), (9, None), (10, "stress")],
)
def test_length_goes_by_facts(facts: int, category: str | None):
    found, reason = by_length(asked("q", *["It is here."] * facts))
    assert found == category
    assert f"{facts} sentences, {4 * facts} tokens" in reason


def test_a_table_has_no_facts_to_count():
    found, reason = by_length(asked("q", *["word " * 81] * 5))
    assert found is None
    assert "no prose" in reason
    assert by_length(asked("q", *["word " * 80] * 5))[0] == "long_context"


@pytest.mark.parametrize(("steps", "category"), [(1, None), (2, "two_hop"), (3, "three_hop"), (9, "three_hop")])  # fmt: skip
def test_steps_are_hops(steps: int, category: str | None):
    assert by_steps(steps, "so it says") == (category, by_steps(steps, "so it says")[1])
    assert by_steps(steps, "so it says")[1].endswith(": so it says")


def test_fields_that_are_not_there_are_named_in_order():
    assert missing(context=False, facts=True, other=False) == (None, "missing: context, other")
    assert missing(context=True) is None


@pytest.mark.parametrize(
    ("question", "comparison", "count"),
    [
        ("Who is older, Renk or Vost?", "older", None),
        ("Are both lakes in Osk?", "both", None),
        ("Which has more members, Tarn or Borl?", "which has more members, tarn or", None),
        ("Who wrote more?", None, None),
        ("Was Borl higher than Tarn?", "higher", None),
        ("How many lakes are there?", None, "how many"),
        ("What is the total depth?", None, "total"),
        ("Who named the Accountant's lake?", None, None),
        ("Where is Tarn?", None, None),
    ],
)
def test_words_ask_for_comparisons_and_counts(
    question: str, comparison: str | None, count: str | None
):
    assert comparison_word(asked(question)) == comparison
    assert count_word(asked(question)) == count
