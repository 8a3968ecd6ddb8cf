"""What a table of questions holds: groups by data set and category, how many each has, and how long they are."""

from collections.abc import Iterable
from statistics import median

from mambascope.data.qa.classify import context_size
from mambascope.data.qa.select import ORDER, Group
from mambascope.data.qa.sentences import count_tokens
from mambascope.data.question import Question

LENGTHS = ("facts", "context tokens", "question tokens", "answer tokens", "answers")


def grouped(questions: Iterable[Question]) -> dict[Group, list[Question]]:
    """By data set in alphabetical order, and there by category in their own order, those without one last."""
    found: dict[Group, list[Question]] = {}
    for question in questions:
        found.setdefault((question.dataset, question.category), []).append(question)
    return dict(sorted(found.items(), key=lambda item: (item[0][0], ORDER.index(item[0][1]))))


def counted(questions: Iterable[Question]) -> dict[Group, int]:
    """How many questions each group has, in the order of `grouped`."""
    return {group: len(found) for group, found in grouped(questions).items()}


def median_lengths(questions: Iterable[Question]) -> dict[str, float]:
    """The medians by their names in LENGTHS: facts and tokens of the context, tokens of the question and of its first answer (0
    without one), accepted answers. There must be a question.
    """
    rows = [_lengths(question) for question in questions]
    columns = zip(*rows, strict=True)
    return {name: float(median(column)) for name, column in zip(LENGTHS, columns, strict=True)}


def _lengths(question: Question) -> tuple[int, ...]:
    answer = count_tokens(question.answers[0]) if question.answers else 0
    return *context_size(question), count_tokens(question.question), answer, len(question.answers)
