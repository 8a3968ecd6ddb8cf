"""Scores of an answer by hand: the normal form, exact match, F1, containment, and where an answer ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.methods.evaluation import scores


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("  an  apple,a day ", "applea day"),  # punctuation goes before words are told apart
        ("A.B.C.", "abc"),
        ("Theatre of the Absurd", "theatre of absurd"),
        ("the", ""),
        ("1,000", "1000"),
    ],
)
def test_the_normal_form_is_squads(text: str, normal: str):
    assert scores.normalised(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("The cat", ["cat"], 1.0, 1.0),
        ("black cat", ["the cat sat", "dog"], 0.0, 0.5),  # 1 of 2 and 1 of 2 words
        (
            "cat cat cat",
            ["cat"],
            0.0,
            0.5,
        ),  # a word counts as often as both have it: 1 of 3, 1 of 1
        ("in the old town of Bern", ["Bern"], 0.0, 1 / 3),  # 1 of 5 words and 1 of 1: 2 * 0.2 / 1.2
        ("dog", ["cat", "a dog"], 1.0, 1.0),
        ("", ["cat"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),  # both without a word
    ],
)
def test_exact_match_and_f1_by_hand(prediction, answers, exact, f1):
    assert scores.exact(prediction, answers) == exact
    assert scores.f1(prediction, answers) == pytest.approx(f1)


@settings(deadline=None)
@given(st.text("ab the.,", max_size=14), st.text("ab the.,", max_size=14))
def test_f1_is_symmetric_bounded_and_one_where_exact_is(one: str, other: str):
    value = scores.f1(one, [other])
    assert 0 <= value <= 1 and value == pytest.approx(scores.f1(other, [one]))
    if scores.exact(one, [other]):
        assert value == 1


def test_containment_looks_anywhere_and_an_answer_without_words_is_not_everywhere():
    assert scores.contained("I think, it is the Mill.\nOr not", ["x", "mill"]) == 1
    assert scores.contained("I think it is a tower", ["mill"]) == 0
    assert scores.contained("something", ["the"]) == 0
    assert scores.contained("", ["the"]) == 1


@pytest.mark.parametrize(
    ("continuation", "answer", "over"),
    [
        (" mill. Question: Who", "mill", True),
        (" mill.", "mill", False),  # "mill.5" could follow
        (" mill", "mill", False),
        ("\n\nParis\nQ", "Paris", True),
        (" St. Louis. It is", "St. Louis", True),
        (" J. R. R. Tolkien! He", "J. R. R. Tolkien", True),
        (" 3.5 million", "3.5 million", False),
        ("", "", False),
    ],
)
def test_the_first_answer_ends_with_its_line_or_sentence(continuation, answer, over):
    assert scores.first_answer(continuation) == answer
    assert scores.answered(continuation) == over
