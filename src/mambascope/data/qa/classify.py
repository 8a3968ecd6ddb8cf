"""What a question demands: the parts of which the data sets' rules are made. Each gives a category, or none, and the reason.

A fact is a sentence of the context; tokens are words and punctuation marks. docs/data.md has the rules as a table.
"""

import re
from dataclasses import replace

from mambascope.data.qa.question_set import QuestionSet, Verdict
from mambascope.data.qa.sentences import count_tokens, sentence_spans
from mambascope.data.question import Question

LONG_CONTEXT = range(5, 8)  # facts
STRESS = 10  # facts, or more
PROSE = 80  # tokens a sentence has at most on average; a table or a list has no sentences to count

COMPARISON = re.compile(
    r"\b(?:both|same|either|differ\w*|compar\w+|than|between|older|younger|elder|earlier|later|longer|shorter|larger|smaller|"
    r"bigger|higher|lower|taller|deeper|wider|nearer|closer)\b"
    r"|\b(?:which|who)\b.*\b(?:more|most|less|least|fewer|fewest|first|last)\b.*\bor\b"
)
COUNT = re.compile(r"\b(?:how many|how much more|number of|total|altogether|count|sum|average)\b")


def classified(question: Question, questions: QuestionSet) -> Question:
    """The question with its category and the reason for it."""
    category, reason = _without_answer(question) or questions.rule(question)
    return replace(question, category=category, reason=reason)


def missing(**fields: bool) -> Verdict | None:
    """No category, if one of the fields is not there; each is given as whether it is."""
    absent = [name for name, there in fields.items() if not there]
    return (None, f"missing: {', '.join(absent)}") if absent else None


def by_length(question: Question) -> Verdict:
    """Long context or stress test, by the number of facts in the context."""
    facts, tokens = context_size(question)
    said = f"the context has {_number(facts, 'sentence')}, {_number(tokens, 'token')}"
    if tokens > PROSE * facts:
        return None, f"{said}: no prose whose facts can be counted"
    if facts in LONG_CONTEXT:
        return "long_context", f"5 to 7 facts: {said}"
    if facts >= STRESS:
        return "stress", f"10 or more facts: {said}"
    return None, f"{said}: neither 5 to 7 facts nor 10 or more"


def by_steps(steps: int, said: str) -> Verdict:
    """Two-hop or three-hop, by the number of steps; `said` is where that number comes from."""
    if steps == 2:
        return "two_hop", f"two steps: {said}"
    if steps > 2:
        return "three_hop", f"three steps or more: {said}"
    return None, f"one step: {said}"


def comparison_word(question: Question) -> str | None:
    """The words by which a question asks for a comparison; None if it has none."""
    found = COMPARISON.search(question.question.lower())
    return found[0] if found else None


def count_word(question: Question) -> str | None:
    """The words by which a question asks for a count; None if it has none."""
    found = COUNT.search(question.question.lower())
    return found[0] if found else None


def context_size(question: Question) -> tuple[int, int]:
    """Facts and tokens of the context."""
    passages = [passage.text for passage in question.passages]
    return sum(len(sentence_spans(p)) for p in passages), sum(count_tokens(p) for p in passages)


def _without_answer(question: Question) -> Verdict | None:
    if not question.answerable:
        return None, "unanswerable: its source says that the context does not hold the answer"
    return None if question.answers else (None, "missing: a short answer")


def _number(count: int, of: str) -> str:
    return f"{count} {of}" + ("" if count == 1 else "s")
