"""Every answer is derived again by a parser of its own: the patterns below are not the generator's."""

import itertools
import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mambascope.data.invented import held_out_names, invented_names, training_names
from mambascope.data.passages import make_passage, training_passage
from mambascope.errors import DataError

WHO, WHAT = r"(?P<who>[A-Z][a-z]+ [A-Z][a-z]+)", r"(?P<what>[a-z]+)"
SAID = {
    "thing": [rf"{WHO} has the {WHAT}\.", rf"{WHO} owns the {WHAT}\."],
    "place": [rf"{WHO} lives at the {WHAT}\.", rf"{WHO} is from the {WHAT}\."],
    "trade": [rf"{WHO} works as a {WHAT}\.", rf"{WHO} is a {WHAT}\."],
    "animal": [rf"{WHO} keeps a {WHAT}\.", rf"{WHO} feeds a {WHAT}\."],
    "food": [rf"{WHO} eats {WHAT}\.", rf"{WHO} cooks {WHAT}\."],
    "colour": [rf"{WHO} likes {WHAT}\.", rf"{WHO} wears {WHAT}\."],
}
NAME = r"([A-Z][a-z]+ [A-Z][a-z]+)"
LINKS = [rf"{NAME}'s ([a-z]+) is {NAME}\.", rf"The ([a-z]+) of {NAME} is {NAME}\."]
LINKED = rf"(?:{NAME}'s (\w+)|the (\w+) of {NAME})"
ASKED = {
    "thing": ["What is owned by {}?", "What belongs to {}?"],
    "place": ["Where is the home of {}?", "Where do you find {}?"],
    "trade": ["What is the work of {}?", "What is the trade of {}?"],
    "animal": ["What is the pet of {}?", "Which animal lives with {}?"],
    "food": ["What is the food of {}?", "What is the dinner of {}?"],
    "colour": ["Which colour suits {}?", "What is the colour of {}?"],
}


def read_statement(text: str) -> tuple[str, ...]:
    """("link", who, role, whom) or (kind, who, what)."""
    for form, order in zip(LINKS, [(1, 2, 3), (2, 1, 3)], strict=True):
        if match := re.fullmatch(form, text):
            who, role, whom = (match[i] for i in order)
            return ("link", who, role, whom)
    found = [
        (kind, match["who"], match["what"])
        for kind, forms in SAID.items()
        for form in forms
        if (match := re.fullmatch(form, text))
    ]
    assert len(found) == 1, text
    return found[0]


def solve(statements, question):
    """(answer, hops), from the text alone."""
    read = [read_statement(text) for text in statements]
    asked = question.removeprefix("Question: ").removesuffix(" Answer:")
    if match := re.fullmatch(rf"Who is {LINKED}\?", asked):
        who, role = match[1] or match[4], match[2] or match[3]
        (whom,) = [r[3] for r in read if r[0] == "link" and r[1:3] == (who, role)]
        return whom, 1
    for kind, forms in ASKED.items():
        for form in forms:
            if match := re.fullmatch(re.escape(form).replace(r"\{\}", "(.+)"), asked):
                return follow(read, kind, match[1])
    raise AssertionError(asked)


def names_in(text):
    """Every two words in a row."""
    words = re.findall(r"\w+", text)
    return {f"{first} {second}" for first, second in itertools.pairwise(words)}


def follow(read, kind, person):
    hops = 1
    if match := re.fullmatch(LINKED, person):
        who, role = match[1] or match[4], match[2] or match[3]
        (person,) = [r[3] for r in read if r[0] == "link" and r[1:3] == (who, role)]
        hops = 2
    (what,) = [r[2] for r in read if r[0] == kind and r[1] == person]
    return what, hops


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(2, 12), st.sampled_from([1, 2]), st.integers(1, 4))
def test_every_question_has_the_answer_that_the_statements_imply(seed, n, hops, n_questions):
    passage = make_passage(Random(seed), n, hops, n_questions)
    assert len(passage.statements) == n
    assert 1 <= len(passage.questions) <= n_questions
    for question in passage.questions:
        assert solve(passage.statements, question.text) == (question.answer, hops)
        assert question.hops == hops
        assert re.search(rf"\b{question.answer}\b", passage.statements[question.position])


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_training_passages_are_answerable_too(seed):
    passage = training_passage(Random(seed))
    for question in passage.questions:
        assert solve(passage.statements, question.text) == (question.answer, question.hops)
    assert len({question.text for question in passage.questions}) == len(passage.questions)


@settings(deadline=None)
@given(st.integers(0, 10**9), st.integers(2, 12), st.sampled_from([1, 2]))
def test_no_two_statements_share_an_answer_or_a_subject_of_one_kind(seed, n, hops):
    read = [read_statement(text) for text in make_passage(Random(seed), n, hops).statements]
    assert len({r[-1] for r in read}) == n
    assert len({r[:2] for r in read}) == n


def test_the_position_of_the_answer_is_uniform():
    counts = Counter(
        make_passage(Random(f"{hops}/{i}"), 6, hops).questions[0].position
        for i in range(3000)
        for hops in (1, 2)
    )
    # 1000 expected at each of six places, standard deviation 29.
    assert all(880 < counts[place] < 1120 for place in range(6))


def test_prompt_and_document_read_as_one_text():
    passage = make_passage(Random(3), 2, n_questions=2)
    first, second = passage.questions
    said = " ".join(passage.statements)
    assert passage.prompt(second) == f"Passage: {said} {second.text}"
    document = passage.document()
    assert document.text == (
        f"Passage: {said} {first.text} {first.answer}. {second.text} {second.answer}."
    )
    decided = [document.text[begin:end] for begin, end in document.decided]
    assert decided == [f" {first.answer}.", f" {second.answer}."]
    assert first.text.endswith("Answer:")


def test_a_seed_gives_one_passage():
    assert make_passage(Random(7), 8, 2, 3) == make_passage(Random(7), 8, 2, 3)
    assert make_passage(Random(7), 8, 2, 3) != make_passage(Random(8), 8, 2, 3)


def test_names_are_split_into_training_and_held_out():
    assert len(set(invented_names())) == len(invented_names())
    assert set(training_names()) | set(held_out_names()) == set(invented_names())
    assert not set(training_names()) & set(held_out_names())
    assert 0.15 < len(held_out_names()) / len(invented_names()) < 0.25
    # Frozen: a change of the split would let names that a model was trained on pass for new ones.
    assert held_out_names()[:3] == ("Bora Hellum", "Bora Kelriv", "Bora Ravlum")


@settings(deadline=None)
@given(st.integers(0, 10**9))
def test_only_the_names_that_are_given_occur(seed):
    text = training_passage(Random(seed)).document().text
    assert not names_in(text) & set(held_out_names())
    text = make_passage(Random(seed), 6, 2, names=held_out_names()).document().text
    assert not names_in(text) & set(training_names())


@pytest.mark.parametrize(("n", "hops"), [(1, 1), (13, 1), (4, 3), (4, 0)])
def test_impossible_passages_are_refused(n, hops):
    with pytest.raises(DataError, match=r"a passage has 2 to 12 statements|takes 1 or 2 steps"):
        make_passage(Random(0), n, hops)
