"""SQuAD v1.1 (Rajpurkar et al. 2016) and v2.0 (Rajpurkar et al. 2018), https://rajpurkar.github.io/SQuAD-explorer.

Official: {data: [{title, paragraphs: [{context, qas: [{id, question, answers: [{text, answer_start}], is_impossible}]}]}]};
is_impossible is of v2 alone. Hub (rajpurkar/squad, rajpurkar/squad_v2): a row per question, answers as two lists, and no
is_impossible: an unanswerable question is one without answers. Titles have underscores for spaces, as in an address.

The supporting facts are the sentences in which the annotators marked the answer.
"""

from collections.abc import Iterator
from typing import Any

from mambascope.data.qa.classify import by_length, comparison_word, context_size, count_word
from mambascope.data.qa.question_set import HubTable, QuestionSet, Verdict, flat
from mambascope.data.qa.sentences import sentence_spans
from mambascope.data.question import Passage, Question, SupportingFact
from mambascope.data.records import BrokenRecord, at, nested, objects, short, text

RECALL_FACTS, RECALL_TOKENS = 4, 200  # that the context of a simple recall has at most


def _entries(record: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(record, dict) and "data" in record:
        return nested(record, "data", "paragraphs", "qas")
    return flat(record)


def _read(entry: Any, otherwise: str) -> Question:
    context = text(entry, "context")
    answers = [] if entry.get("is_impossible") is True else objects(entry, "answers")
    if not answers and entry.get("is_impossible") is False:
        raise BrokenRecord("field 'answers' is empty, but 'is_impossible' is false")
    spans = [_span(context, answer) for answer in answers]
    return Question(
        id=f"squad-{text(entry, 'id')}",
        dataset="squad",
        question=text(entry, "question").strip(),
        passages=(Passage(text(entry, "title").replace("_", " "), context),),
        answers=tuple(dict.fromkeys(context[start:end] for start, end in spans)),
        supporting=_supporting(context, spans),
        origin=otherwise,
        answerable=bool(answers),
    )


def _span(context: str, answer: dict[str, Any]) -> tuple[int, int]:
    said, start = text(answer, "text"), at(answer, "answer_start")
    if not isinstance(start, int) or start < 0 or context[start : start + len(said)] != said:
        raise BrokenRecord(
            f"field 'answer_start' is {short(start)}, where the context does not say {short(said)}"
        )
    return start, start + len(said)


def _supporting(context: str, spans: list[tuple[int, int]]) -> tuple[SupportingFact, ...]:
    return tuple(
        SupportingFact(0, context[first:last])
        for first, last in sentence_spans(context)
        if any(start < last and first < end for start, end in spans)
    )


def _rule(question: Question) -> Verdict:
    facts, tokens = context_size(question)
    if facts > RECALL_FACTS:
        return by_length(question)
    said = f"the answer is in {len(question.supporting)} of {facts} sentences, {tokens} tokens"
    if tokens > RECALL_TOKENS:
        return None, f"{said}: more than the {RECALL_TOKENS} tokens of simple recall"
    if len(question.supporting) != 1:
        return None, f"{said}: simple recall is of one sentence"
    if word := comparison_word(question) or count_word(question):
        return None, f"{said}, but {word!r} asks for a comparison or a count"
    return "simple_recall", f"one fact: {said}"


SQUAD = QuestionSet(
    name="squad",
    hub=HubTable("rajpurkar/squad", None, "validation"),
    entries=_entries,
    read=_read,
    rule=_rule,
)
