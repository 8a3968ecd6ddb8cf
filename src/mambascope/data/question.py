"""A question with its context and every answer that counts: one record for published question sets and for generated prompts.

A row is the record as JSON, and a line of a JSONL file or of a Parquet table holds one (prompts/files.py). `context` in a row is
what `Question.context` says; a row of one's own may give it in place of `passages`.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from mambascope.data.records import BrokenRecord, text

Category = Literal[
    "simple_recall",
    "two_hop",
    "three_hop",
    "long_context",
    "reasoning_memory",
    "stress",
    "query",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
LEVELS = CATEGORIES[:6]  # those that prompts are generated for; a query has no context


@dataclass(frozen=True)
class Passage:
    """A piece of the context; `title` is empty where it has none."""

    title: str
    text: str


@dataclass(frozen=True)
class SupportingFact:
    """Where in the context the answer comes from.

    passage:  index in the question's passages
    sentence: as it stands there; None for the passage as a whole
    """

    passage: int
    sentence: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question.

    id:            unique among all data sets, and the same each time the source is read
    dataset:       squad, nq, ..., or what the prompts are called
    passages:      in the order in which they are given; none for a question asked from memory
    answers:       all that are accepted, without repetition; none where no right answer was published
    hops:          steps of reasoning, where the source says how many
    supporting:    empty where the source does not say
    origin:        file and record that it was read from, or how it was made
    category:      what it demands; None where no rule gives it a category
    reason:        why it has that category, or none
    question_type: in the data set's own words, such as "bridge" or "number"
    answerable:    False where the source says that the context does not hold the answer
    """

    id: str
    dataset: str
    question: str
    passages: tuple[Passage, ...]
    answers: tuple[str, ...]
    hops: int | None = None
    supporting: tuple[SupportingFact, ...] = ()
    origin: str
    category: Category | None = None
    reason: str = ""
    question_type: str | None = None
    answerable: bool = True

    @property
    def context(self) -> str:
        """All passages as one text, each under its title, with empty lines between them."""
        return "\n\n".join(f"{p.title}\n{p.text}" if p.title else p.text for p in self.passages)


def as_row(question: Question) -> dict[str, Any]:
    """The record as JSON types, with `context` beside `passages`."""
    row = asdict(question)
    for name in ("passages", "answers", "supporting"):
        row[name] = list(row[name])
    return {**row, "context": question.context}


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
