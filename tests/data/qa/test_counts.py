"""Groups, counts and lengths of questions, by numbers counted by hand."""

from mambascope.data.qa.counts import counted, grouped, median_lengths
from mambascope.data.question import Category, Passage, Question


def question(id: str, dataset: str, category: Category | None, **fields: object) -> Question:
    given = {"question": "Who?", "passages": (), "answers": ("a",), "origin": "f"}
    return Question(id=id, dataset=dataset, category=category, **{**given, **fields})


QUESTIONS = (
    question("1", "squad", None),
    question("2", "squad", "stress"),
    question("3", "drop", "reasoning_memory"),
    question("4", "squad", "simple_recall"),
    question("5", "squad", "stress"),
)


def test_groups_are_by_data_set_then_by_category_and_those_without_one_come_last():
    groups = {group: [q.id for q in found] for group, found in grouped(QUESTIONS).items()}
    assert list(groups.items()) == [
        (("drop", "reasoning_memory"), ["3"]),
        (("squad", "simple_recall"), ["4"]),
        (("squad", "stress"), ["2", "5"]),
        (("squad", None), ["1"]),
    ]


def test_counts_are_those_of_the_groups():
    assert list(counted(QUESTIONS).items()) == [
        (("drop", "reasoning_memory"), 1),
        (("squad", "simple_recall"), 1),
        (("squad", "stress"), 2),
        (("squad", None), 1),
    ]
    assert counted([]) == {}


def test_lengths_are_medians_over_the_questions():
    context = (
        Passage("T", "It rains. It pours!"),
        Passage("", "Nobody knows."),
    )  # 3 facts, 9 tokens
    asked = [
        question("1", "d", None, passages=context, question="Who has it?", answers=("a b", "c")),
        question("2", "d", None, answers=()),
        question("3", "d", None, answers=("one, two", "x", "y")),
    ]
    assert median_lengths(asked) == {
        "facts": 0,
        "context tokens": 0,
        "question tokens": 2,
        "answer tokens": 2,
        "answers": 2,
    }
    first = {"facts": 3, "context tokens": 9, "question tokens": 4, "answer tokens": 2, "answers": 2}  # fmt: skip
    assert median_lengths(asked[:1]) == first
    assert median_lengths(asked[:2])["context tokens"] == 4.5
