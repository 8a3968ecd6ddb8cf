"""MuSiQue (Trivedi et al. 2022), https://github.com/StonyBrookNLP/musique.

JSON lines {id, question, answer, answer_aliases, answerable, paragraphs: [{idx, title, paragraph_text, is_supporting}],
question_decomposition: [{id, question, answer, paragraph_support_idx}]}; copies on the hub have the same fields. The steps of the
decomposition are the hops. In musique_full every question comes twice under one id, once without a paragraph that it needs: that
one is unanswerable, and "-unanswerable" is put to its id.
"""

from typing import Any

from mambascope.data.qa.classify import by_steps, missing
from mambascope.data.qa.question_set import HubTable, QuestionSet, Verdict, flat
from mambascope.data.question import Passage, Question, SupportingFact
from mambascope.data.records import BrokenRecord, objects, text, texts


def _read(entry: Any, otherwise: str) -> Question:
    own, answer = text(entry, "id"), text(entry, "answer").strip()
    paragraphs = objects(entry, "paragraphs") if entry.get("paragraphs") is not None else []
    aliases = texts(entry, "answer_aliases") if entry.get("answer_aliases") is not None else []
    answerable = entry.get("answerable", True)
    if not isinstance(answerable, bool):
        raise BrokenRecord(f"field 'answerable' must be true or false, not {answerable!r}")
    return Question(
        id=f"musique-{own}" if answerable else f"musique-{own}-unanswerable",
        dataset="musique",
        question=text(entry, "question").strip(),
        passages=tuple(Passage(text(p, "title"), text(p, "paragraph_text")) for p in paragraphs),
        answers=tuple(dict.fromkeys([answer, *aliases])) if answerable else (),
        hops=_hops(entry),
        supporting=_supporting(paragraphs),
        origin=otherwise,
        answerable=answerable,
    )


def _hops(entry: dict[str, Any]) -> int | None:
    if entry.get("question_decomposition") is None:
        return None
    return len(objects(entry, "question_decomposition")) or None


def _supporting(paragraphs: list[dict[str, Any]]) -> tuple[SupportingFact, ...]:
    marked = [paragraph.get("is_supporting") is True for paragraph in paragraphs]
    return tuple(SupportingFact(index) for index, mark in enumerate(marked) if mark)


def _rule(question: Question) -> Verdict:
    if absent := missing(paragraphs=bool(question.passages)):
        return absent
    if question.hops is not None:
        return by_steps(question.hops, f"'question_decomposition' has {question.hops}")
    if not question.supporting:
        return None, "missing: question_decomposition, is_supporting"
    return by_steps(len(question.supporting), f"{len(question.supporting)} supporting paragraphs")


MUSIQUE = QuestionSet(
    name="musique",
    hub=HubTable("dgslibisey/MuSiQue", None, "validation"),
    entries=flat,
    read=_read,
    rule=_rule,
)
