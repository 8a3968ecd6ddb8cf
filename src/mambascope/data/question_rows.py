"""A question as a row of a file, in JSON types, and back.

`context` in a row is what `Question.context` says; a row of one's own may give it in place of `passages`.
"""

from typing import Any, cast

from mambascope.data.question import CATEGORIES, Category, Passage, Question, SupportingFact
from mambascope.data.records import BrokenRecord, text


def as_row(question: Question) -> dict[str, Any]:
    """The record as JSON types, with `context` beside `passages`."""
    lists = {
        "passages": [dict(vars(passage)) for passage in question.passages],
        "answers": list(question.answers),
        "supporting": [dict(vars(fact)) for fact in question.supporting],
    }
    return {**vars(question), **lists, "context": question.context}


def from_row(row: Any, **otherwise: str) -> Question:
    """The record of a row; only `question` and `answers` must be there. BrokenRecord names the field that is wrong.

    otherwise: id, dataset and origin of a row that has none of its own
    """
    question, passages = text(row, "question"), _passages(row)
    given = {name: _optional(row, name) or otherwise.get(name, "") for name in NAMES}
    read = Question(
        question=question,
        passages=passages,
        answers=_answers(row),
        hops=_hops(row),
        supporting=_supporting(row, len(passages)),
        category=_category(row),
        reason=_optional(row, "reason") or "",
        question_type=_optional(row, "question_type"),
        answerable=_answerable(row),
        **given,
    )
    if passages and row.get("context") not in (None, read.context):
        raise BrokenRecord("field 'context' says something else than 'passages'; give one of them")
    return read


NAMES = ("id", "dataset", "origin")


def _optional(row: dict[str, Any], name: str) -> str | None:
    return text(row, name) if row.get(name) not in (None, "") else None


def _listed(row: dict[str, Any], name: str) -> list[Any]:
    found = row.get(name) if row.get(name) is not None else []
    if not isinstance(found, list):
        raise BrokenRecord(f"field {name!r} must be a list, not {found!r}")
    return found


def _passages(row: dict[str, Any]) -> tuple[Passage, ...]:
    if row.get("passages") is None:
        context = _optional(row, "context")
        return () if context is None else (Passage("", context),)
    return tuple(
        Passage(_optional(part, "title") or "", text(part, "text"))
        for part in _objects(row, "passages")
    )


def _supporting(row: dict[str, Any], passages: int) -> tuple[SupportingFact, ...]:
    found = []
    for part in _objects(row, "supporting"):
        if not isinstance(part.get("passage"), int) or not 0 <= part["passage"] < passages:
            raise BrokenRecord(f"field 'supporting.passage' must be one of the {passages} passages")
        found.append(SupportingFact(part["passage"], _optional(part, "sentence")))
    return tuple(found)


def _objects(row: dict[str, Any], name: str) -> list[dict[str, Any]]:
    for part in _listed(row, name):
        if not isinstance(part, dict):
            raise BrokenRecord(f"field {name!r} must hold objects, not {part!r}")
    return _listed(row, name)


def _answers(row: dict[str, Any]) -> tuple[str, ...]:
    if "answers" not in row:
        raise BrokenRecord(f"field 'answers' is missing; there are: {', '.join(map(str, row))}")
    for answer in _listed(row, "answers"):
        if not isinstance(answer, str) or not answer.strip():
            raise BrokenRecord(f"field 'answers' must hold texts, not {answer!r}")
    return tuple(dict.fromkeys(row["answers"] or ()))


def _hops(row: dict[str, Any]) -> int | None:
    hops = row.get("hops")
    if hops is not None and (not isinstance(hops, int) or isinstance(hops, bool) or hops < 1):
        raise BrokenRecord(f"field 'hops' must be a whole number from 1, not {hops!r}")
    return hops


def _category(row: dict[str, Any]) -> Category | None:
    found = _optional(row, "category")
    if found is not None and found not in CATEGORIES:
        raise BrokenRecord(
            f"field 'category' is {found!r}; a category is one of: {', '.join(CATEGORIES)}"
        )
    return cast(Category | None, found)


def _answerable(row: dict[str, Any]) -> bool:
    found = row.get("answerable")
    if found not in (None, True, False):
        raise BrokenRecord(f"field 'answerable' must be true or false, not {found!r}")
    return found is not False
