"""What a data set has to say of itself to be read: where it is on the hub, its schema, and the rule of its categories."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mambascope.data.question import Category, Question

Verdict = tuple[Category | None, str]  # the category, and the reason for it or for none


@dataclass(frozen=True)
class HubTable:
    """A table of the Hugging Face hub."""

    repository: str
    config: str | None
    split: str


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """One data set.

    hub:     what the source `hub` means
    entries: a record of a file to the questions in it: (place in the record, its fields or the BrokenRecord there)
    read:    (the fields, an id for a question that has none of its own) to the question; BrokenRecord names the wrong field
    rule:    the category of a question that has an accepted answer
    """

    name: str
    hub: HubTable
    entries: Callable[[Any], Iterator[tuple[str, Any]]]
    read: Callable[[Any, str], Question]
    rule: Callable[[Question], Verdict]


def flat(record: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a schema in which each record is a question."""
    yield "", record
