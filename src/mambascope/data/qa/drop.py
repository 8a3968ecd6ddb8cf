"""DROP (Dua et al. 2019), https://allenai.org/data/drop.

Official: {passage id: {passage, qa_pairs: [{query_id, question, answer, validated_answers: [answer, ...]}]}}, an answer being
{number, date: {day, month, year}, spans}, and the further ones those of further annotators. Hub (ucinlp/drop): a row per question
with passage and answers_spans {spans, types}, which no longer says which spans belong together: each is accepted by itself.

An answer is its number, or its spans with commas between them, or its date as day, month, year, in the order of the official
evaluation.
"""

from collections.abc import Iterator
from typing import Any

from mambascope.data.qa.question_set import HubTable, QuestionSet, Verdict, flat
from mambascope.data.question import Passage, Question
from mambascope.data.records import BrokenRecord, at, nested, objects, short, text, texts

FURTHER = "validated_answers"


def _entries(record: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(record, dict) or "query_id" in record:
        yield from flat(record)
        return
    for passage_id, section in record.items():
        yield from nested(section, "qa_pairs", name=f"passage {passage_id!r}")


def _read(entry: Any, otherwise: str) -> Question:
    found = _hub_answers(entry) if "answers_spans" in entry else _answers(entry)
    return Question(
        id=f"drop-{text(entry, 'query_id')}",
        dataset="drop",
        question=text(entry, "question").strip(),
        passages=(Passage("", text(entry, "passage").strip()),),
        answers=tuple(dict.fromkeys(answer for answer, _ in found)),
        origin=otherwise,
        question_type=found[0][1],
    )


def _answers(entry: Any) -> list[tuple[str, str]]:
    """(answer, its type) by each annotator; a further one who gave none is left out."""
    at(entry, "answer")
    first = _answer(entry["answer"])
    if first is None:
        raise BrokenRecord("field 'answer' has neither a number nor spans nor a date")
    further = objects(entry, FURTHER) if entry.get(FURTHER) else []
    return [first, *(found for answer in further if (found := _answer(answer)) is not None)]


def _answer(answer: Any) -> tuple[str, str] | None:
    if not isinstance(answer, dict):
        raise BrokenRecord(f"field 'answer' must be an object, not {type(answer).__name__}")
    if number := _number(answer):
        return number, "number"
    spans = texts(answer, "spans") if answer.get("spans") is not None else []
    if spans:
        return ", ".join(span.strip() for span in spans), "span" if len(spans) == 1 else "spans"
    said = _date(answer)
    return (said, "date") if said else None


def _number(answer: dict[str, Any]) -> str:
    number = answer.get("number")
    if isinstance(number, bool) or not isinstance(number, str | int | float | None):
        raise BrokenRecord(f"field 'number' must be a number, not {short(number)}")
    return "" if number is None else str(number).strip()


def _date(answer: dict[str, Any]) -> str:
    date = {} if answer.get("date") is None else answer["date"]
    if not isinstance(date, dict):
        raise BrokenRecord(f"field 'date' must be an object, not {short(date)}")
    parts = [date.get(name) or "" for name in ("day", "month", "year")]
    if not all(isinstance(part, str | int) for part in parts):
        raise BrokenRecord(f"field 'date' must hold day, month and year, not {short(date)}")
    return " ".join(said for part in parts if (said := str(part).strip()))


def _hub_answers(entry: Any) -> list[tuple[str, str]]:
    found = [(text(part, "spans"), text(part, "types")) for part in objects(entry, "answers_spans")]
    if not found:
        raise BrokenRecord("field 'answers_spans' is empty")
    return found


def _rule(question: Question) -> Verdict:
    return "reasoning_memory", f"DROP: reasons over its passage; answer: {question.question_type}"


DROP = QuestionSet(
    name="drop",
    hub=HubTable("ucinlp/drop", None, "validation"),
    entries=_entries,
    read=_read,
    rule=_rule,
)
