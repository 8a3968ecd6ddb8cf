"""Prompts of the user's own, kept as they are and marked as such."""

from collections.abc import Iterable
from dataclasses import replace

from mambascope.data.prompts.form import ORIGINAL
from mambascope.data.question import Question
from mambascope.errors import DataError


def as_originals(questions: Iterable[Question]) -> list[Question]:
    """The same records with `original` as their data set: `question` is the whole prompt, and nothing is put around it.

    Raises DataError for one with a context of its own, which would be left out.
    """
    marked = []
    for question in questions:
        if question.passages:
            raise DataError(
                f"the original prompt {question.id!r} has a context beside its text; an original prompt is `question` alone, "
                "so write all of it there"
            )
        marked.append(replace(question, dataset=ORIGINAL))
    return marked
