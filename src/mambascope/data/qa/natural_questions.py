"""Natural Questions (Kwiatkowski et al. 2019), https://ai.google.com/research/NaturalQuestions.

Open (Lee et al. 2019; NQ-open.dev.jsonl, and google-research-datasets/nq_open on the hub): {question, answer: [text, ...]}.
Hub (google-research-datasets/natural_questions): {id, document: {title, tokens: {token, is_html, start_byte, end_byte}},
question: {text}, annotations: {long_answer: {start_token, end_token}, short_answers: {text}, yes_no_answer}}, with -1 for what an
annotator did not find, and 0 and 1 for no and yes.

The passage is the long answer that most annotators chose (of those chosen equally often, the one of the first annotator), in the
tokens of the page without its HTML. Every short answer of every annotator is accepted, each by itself, as in the open version.
"""

from collections import Counter
from typing import Any

from mambascope.data.qa.classify import by_length, missing
from mambascope.data.qa.question_set import HubTable, QuestionSet, Verdict, flat
from mambascope.data.question import Passage, Question, SupportingFact
from mambascope.data.records import BrokenRecord, at, objects, text, texts

YES_NO = {0: "no", 1: "yes"}
CLOSING = ",.;:!?)]%'"


def _read(entry: Any, otherwise: str) -> Question:
    if "document" in entry:
        return _with_document(entry, otherwise)
    answers = texts(entry, "answer")
    if not answers:
        raise BrokenRecord("field 'answer' is empty")
    return Question(
        id=otherwise,
        dataset="nq",
        question=text(entry, "question").strip(),
        passages=(),
        answers=tuple(dict.fromkeys(answers)),
        origin=otherwise,
    )


def _with_document(entry: dict[str, Any], otherwise: str) -> Question:
    annotations = objects(entry, "annotations")
    spans = [_long_answer(annotation) for annotation in annotations]
    chosen = Counter(span for span in spans if span is not None).most_common(1)
    answers = [answer for annotation in annotations for answer in _short_answers(annotation)]
    passages = (_passage(entry, *chosen[0][0]),) if chosen else ()
    return Question(
        id=f"nq-{text(entry, 'id')}",
        dataset="nq",
        question=text(entry, "question", "text").strip(),
        passages=passages,
        answers=tuple(dict.fromkeys(answers)),
        supporting=(SupportingFact(0),) if passages else (),
        origin=otherwise,
        answerable=bool(passages or answers),
    )


def _long_answer(annotation: dict[str, Any]) -> tuple[int, int] | None:
    start, end = (at(annotation, "long_answer", name) for name in ("start_token", "end_token"))
    if not isinstance(start, int) or not isinstance(end, int):
        raise BrokenRecord("field 'annotations.long_answer' must hold whole numbers")
    return (start, end) if start >= 0 else None


def _short_answers(annotation: dict[str, Any]) -> list[str]:
    """What an annotator marked or said. A mark on an image has an empty text and is no answer."""
    marked = [at(answer, "text") for answer in objects(annotation, "short_answers")]
    if not all(isinstance(answer, str) for answer in marked):
        raise BrokenRecord("field 'annotations.short_answers.text' must hold texts")
    said = at(annotation, "yes_no_answer")
    if not isinstance(said, int):
        raise BrokenRecord("field 'annotations.yes_no_answer' must be a whole number")
    return [*(answer for answer in marked if answer.strip()), *filter(None, [YES_NO.get(said)])]


def _passage(entry: dict[str, Any], start: int, end: int) -> Passage:
    """The tokens of the long answer, without a space where the page has none or where markup parts a word from its comma."""
    said, before = "", None
    for token in objects(entry, "document", "tokens", part=slice(start, end)):
        if not at(token, "is_html"):
            word = text(token, "token")
            joined = before is not None and before == token.get("start_byte")
            said += ("" if joined or not said or word[0] in CLOSING else " ") + word
            before = token.get("end_byte")
    if not said:
        raise BrokenRecord(f"field 'document.tokens' has no text in the long answer {start}:{end}")
    return Passage(text(entry, "document", "title"), said)


def _rule(question: Question) -> Verdict:
    return missing(long_answer=bool(question.passages)) or by_length(question)


NATURAL_QUESTIONS = QuestionSet(
    name="nq",
    hub=HubTable("google-research-datasets/natural_questions", "default", "validation"),
    entries=flat,
    read=_read,
    rule=_rule,
)
