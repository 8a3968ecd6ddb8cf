"""TriviaQA (Joshi et al. 2017), https://nlp.cs.washington.edu/triviaqa.

Official: {Data: [{QuestionId, Question, Answer: {Value, Aliases, NormalizedAliases, HumanAnswers, Type}, EntityPages,
SearchResults}], ...}. Hub (mandarjoshi/trivia_qa): a row per question with the same fields in snake_case; the test split says
"<unk>" for every answer.

Accepted are value, aliases, normalised aliases and the answers that people gave, which are those of the official evaluation. The
pages that were found for a question are no passages of it: nobody says that they hold the answer, and it is asked from memory.
"""

from collections.abc import Iterator
from typing import Any

from mambascope.data.qa.question_set import HubTable, QuestionSet, Verdict, flat
from mambascope.data.question import Question
from mambascope.data.records import BrokenRecord, at, nested, text, texts

OFFICIAL = {"id": "QuestionId", "question": "Question", "answer": "Answer", "type": "Type"}
OFFICIAL |= {"value": "Value", "aliases": "Aliases", "normalized": "NormalizedAliases"}
OFFICIAL |= {"human": "HumanAnswers"}
HUB = {"id": "question_id", "question": "question", "answer": "answer", "type": "type"}
HUB |= {"value": "value", "aliases": "aliases", "normalized": "normalized_aliases"}
HUB |= {"human": "human_answers"}
WITHHELD = "<unk>"


def _entries(record: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(record, dict) and "Data" in record:
        return nested(record, "Data")
    return flat(record)


def _read(entry: Any, otherwise: str) -> Question:
    names = OFFICIAL if "QuestionId" in entry else HUB
    answer = at(entry, names["answer"])
    answers = _answers(entry, names)
    return Question(
        id=f"triviaqa-{text(entry, names['id'])}",
        dataset="triviaqa",
        question=text(entry, names["question"]).strip(),
        passages=(),
        answers=answers,
        origin=otherwise,
        question_type=text(answer, names["type"]) if answer.get(names["type"]) else None,
    )


def _answers(entry: Any, names: dict[str, str]) -> tuple[str, ...]:
    answer = names["answer"]
    value = text(entry, answer, names["value"])
    if value == WITHHELD:
        raise BrokenRecord(f"field '{answer}.{names['value']}' is {WITHHELD!r}: it is withheld")
    given = [names[name] for name in ("aliases", "normalized", "human")]
    there = [name for name in given if entry[answer].get(name) is not None]
    others = [alias for name in there for alias in texts(entry, answer, name)]
    return tuple(dict.fromkeys([value, *others]))


def _rule(question: Question) -> Verdict:
    return "query", f"TriviaQA: asked from memory, {len(question.answers)} accepted answers"


TRIVIAQA = QuestionSet(
    name="triviaqa",
    hub=HubTable("mandarjoshi/trivia_qa", "rc.nocontext", "validation"),
    entries=_entries,
    read=_read,
    rule=_rule,
)
