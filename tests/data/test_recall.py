import itertools
import re

import pytest

from mambascope.data.corpus import training_strings
from mambascope.data.facts import Fact, bundled_facts, held_out_phrasing, prompts
from mambascope.data.invented import KINDS, training_names
from mambascope.data.recall import (
    STATEMENT_GROUPS,
    commonest_answer_share,
    commonest_answers,
    naming_any_share,
    passage_questions,
    seen_questions,
    unseen_questions,
)


def test_seen_questions_are_training_documents_and_unseen_ones_are_not():
    shown = set(training_strings()["facts"])
    assert all(q.prompt + q.target in shown for q in seen_questions())
    assert not any(q.prompt + q.target in shown for q in unseen_questions())


def test_every_fact_is_asked_once_either_way():
    for questions in (seen_questions(), unseen_questions()):
        assert len({q.prompt for q in questions}) == len(questions) == len(bundled_facts())
        assert [q.answer for q in questions] == [fact.object for fact in bundled_facts()]
        assert [q.group for q in questions] == [fact.relation for fact in bundled_facts()]


def test_unseen_questions_use_the_held_out_phrasing():
    for fact, question in zip(bundled_facts(), unseen_questions(), strict=True):
        assert question.prompt == prompts(fact)[held_out_phrasing(fact)]


def test_seen_questions_spread_over_the_phrasings():
    asked = [
        prompts(f).index(q.prompt) for f, q in zip(bundled_facts(), seen_questions(), strict=True)
    ]
    assert all(0.15 < asked.count(i) / len(asked) < 0.25 for i in range(5))


@pytest.mark.parametrize("group", STATEMENT_GROUPS)
@pytest.mark.parametrize("hops", [1, 2])
def test_passage_questions_use_unseen_names_and_the_lengths_of_their_group(group, hops):
    questions = passage_questions(group, hops, count=50)
    fewest, most = STATEMENT_GROUPS[group]
    assert len({q.prompt for q in questions}) == 50
    for question in questions:
        said, _, asked = question.prompt.partition(" Question: ")
        assert fewest <= said.count(".") <= most
        assert asked.endswith(" Answer:") and "Question:" not in asked
        words = re.findall(r"\w+", question.prompt)
        assert not {f"{a} {b}" for a, b in itertools.pairwise(words)} & set(training_names())
        assert question.answer in said
        assert question.group == f"{group}/{hops}"
        assert question.target == f" {question.answer}."


def test_passage_questions_are_always_the_same():
    assert passage_questions("5-7", 2, count=20) == passage_questions("5-7", 2, count=20)
    assert passage_questions("2", count=20) == passage_questions("2", count=200)[:20]


def test_the_commonest_answer_by_hand():
    facts = [
        Fact(f"{relation}/{i}", relation, str(i), answer, "")
        for relation, answers in {"colour": "red red red blue", "shape": "round flat"}.items()
        for i, answer in enumerate(answers.split())
    ]
    assert commonest_answers(facts) == {"colour": ("red", 0.75), "shape": ("round", 0.5)}
    assert commonest_answer_share(facts) == pytest.approx(4 / 6)


def test_guessing_the_commonest_answer_gets_a_small_share_of_the_table():
    assert 0.05 < commonest_answer_share() < 0.2


@pytest.mark.parametrize("group", STATEMENT_GROUPS)
def test_the_share_of_naming_any_answer_is_counted_on_the_passages_that_are_asked(group):
    shares = []
    for question in passage_questions(group, 2, count=60):
        said = question.prompt.removeprefix("Passage: ").split(" Question:")[0]
        ends = [statement.split()[-1] for statement in said.removesuffix(".").split(". ")]
        (kind,) = (kind for kind in KINDS if question.answer in kind.answers)
        shares.append(1 / sum(end in kind.answers for end in ends))
    assert naming_any_share(group, 2, count=60) == pytest.approx(sum(shares) / len(shares))


def test_two_steps_over_two_statements_leave_one_answer_to_name():
    assert naming_any_share("2", 2) == 1
    assert naming_any_share("10-12") < naming_any_share("5-7") < naming_any_share("2") < 1
