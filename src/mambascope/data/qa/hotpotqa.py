"""HotpotQA (Yang et al. 2018), https://github.com/hotpotqa/hotpot.

Official: a list of {_id, question, answer, supporting_facts: [[title, sent_id], ...], context: [[title, [sentence, ...]], ...],
type, level}, type "bridge" or "comparison". Hub (hotpotqa/hotpot_qa): `id`, and both lists as an object of lists (title, sent_id;
title, sentences). Simplified, in use for closed-book tests: {question, answer, type}.

In the fullwiki setting the context was found by a search, and may lack a supporting passage: such a question is not answerable.
"""

from collections.abc import Iterator
from typing import Any

from mambascope.data.qa.classify import by_steps, comparison_word, missing
from mambascope.data.qa.question_set import HubTable, QuestionSet, Verdict, flat
from mambascope.data.question import Passage, Question, SupportingFact
from mambascope.data.records import BrokenRecord, listed, objects, short, text

Paragraph = tuple[str, list[str]]  # title, sentences


def _read(entry: Any, otherwise: str) -> Question:
    question, answer = text(entry, "question").strip(), text(entry, "answer").strip()
    paragraphs = [_paragraph(*pair) for pair in _pairs(entry, "context", "title", "sentences")]
    wanted = list(_pairs(entry, "supporting_facts", "title", "sent_id"))
    found = [fact for pair in wanted for fact in _supporting(paragraphs, *pair)]
    own = entry.get("_id", entry.get("id"))
    return Question(
        id=otherwise if own is None else f"hotpotqa-{own}",
        dataset="hotpotqa",
        question=question,
        passages=tuple(
            Passage(title, " ".join(filter(None, parts))) for title, parts in paragraphs
        ),
        answers=(answer,),
        supporting=tuple(dict.fromkeys(found)),
        origin=otherwise,
        question_type=text(entry, "type") if entry.get("type") is not None else None,
        answerable=not paragraphs or len(found) == len(wanted),
    )


def _pairs(entry: dict[str, Any], field: str, first: str, second: str) -> Iterator[tuple[Any, Any]]:
    """The pairs of a field in either schema; none where the record lacks it."""
    if entry.get(field) is None:
        return
    if isinstance(entry[field], dict):
        for part in objects(entry, field):
            yield part.get(first), part.get(second)
        return
    for part in listed(entry, field):
        if not isinstance(part, list) or len(part) != 2:
            raise BrokenRecord(f"field {field!r} must hold [{first}, {second}], not {short(part)}")
        yield part[0], part[1]


def _paragraph(title: Any, sentences: Any) -> Paragraph:
    if not isinstance(title, str) or not title.strip() or not isinstance(sentences, list):
        raise BrokenRecord(f"field 'context' must hold [title, sentences], not {short(title)}")
    parts = [sentence.strip() for sentence in sentences if isinstance(sentence, str)]
    if len(parts) != len(sentences) or not any(parts):
        raise BrokenRecord(f"field 'context' has no sentences under {short(title)}")
    return title, parts


def _supporting(paragraphs: list[Paragraph], title: Any, number: Any) -> Iterator[SupportingFact]:
    for index, (name, parts) in enumerate(paragraphs):
        if name == title:
            if not isinstance(number, int) or not 0 <= number < len(parts):
                raise BrokenRecord(
                    f"field 'supporting_facts' names sentence {short(number)} of {title!r}, which has {len(parts)}"
                )
            if not parts[number]:
                raise BrokenRecord(
                    f"field 'supporting_facts' names sentence {number} of {title!r}, which is empty"
                )
            yield SupportingFact(index, parts[number])
            return


def _rule(question: Question) -> Verdict:
    there = {"context": bool(question.passages), "supporting_facts": bool(question.supporting)}
    if absent := missing(**there):
        return absent
    steps, kind = len(question.supporting), question.question_type
    said = f"{steps} supporting sentence{'s' if steps > 1 else ''}"
    if steps > 1 and _compares(question):
        how = f"type {kind!r}" if kind else f"{comparison_word(question)!r} in its words"
        return "two_hop", f"two steps: two things, each looked up by itself ({how}), {said}"
    return by_steps(steps, f"{said}, type {kind!r}" if kind else said)


def _compares(question: Question) -> bool:
    """By the published type, or without one by the question's words."""
    if question.question_type is not None:
        return question.question_type == "comparison"
    return comparison_word(question) is not None


HOTPOTQA = QuestionSet(
    name="hotpotqa",
    hub=HubTable("hotpotqa/hotpot_qa", "distractor", "validation"),
    entries=flat,
    read=_read,
    rule=_rule,
)
