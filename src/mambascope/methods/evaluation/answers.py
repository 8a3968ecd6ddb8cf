"""How likely the accepted answers are: the log-probability of the likeliest, and the rank of the likeliest first token."""

from collections.abc import Sequence
from dataclasses import dataclass

from mambascope.data.fact_prompt import QuestionPrompt
from mambascope.interventions.prompt import answer_tokens
from mambascope.models.decoding import continuation_logprobs
from mambascope.models.language_model import LanguageModel
from mambascope.models.run import Run
from mambascope.sites import Edit


@dataclass(frozen=True)
class Likeliness:
    """Of one question, over its accepted answers.

    answer:  the one with the highest log-probability (natural, summed over its tokens: `logprob`)
    rank:    the best rank of an answer's first token among all tokens, 1 being the top
    """

    answer: str
    logprob: float
    rank: int


def likeliness(
    model: LanguageModel, questions: Sequence[QuestionPrompt], run: Run, edits: Sequence[Edit]
) -> list[Likeliness]:
    """One for each question; `run` as for `decode`. PromptError for an answer without a token."""
    spelt = [
        [
            (answer, answer_tokens(model, question.prompt, answer, ids))
            for answer in question.answers
        ]
        for question, ids in zip(questions, run.ids, strict=True)
    ]
    flat = [(row, ids) for row, answers in enumerate(spelt) for _, ids in answers]
    scored = iter(continuation_logprobs(model, run, flat, edits=edits))
    assert run.logits is not None
    found = []
    for row, answers in enumerate(spelt):
        totals = [float(next(scored)[0].sum()) for _ in answers]
        best = totals.index(max(totals))
        logits = run.logits[row]
        rank = min(1 + int((logits > logits[ids[0]]).sum()) for _, ids in answers)
        found.append(Likeliness(answers[best][0], totals[best], rank))
    return found
