"""What an evaluation asks: generated prompts, prompts of a file, questions of data sets, each as the text put to a model."""

from collections.abc import Iterable
from pathlib import Path

from mambascope.data.fact_prompt import QuestionPrompt
from mambascope.data.fact_sets import FactSet
from mambascope.data.prompts.form import Form, prompt_text
from mambascope.data.prompts.levels import make_prompts
from mambascope.data.question import Question
from mambascope.data.question_files import read_questions
from mambascope.errors import DataError

GENERATED = "generated prompts"


def asked_questions(
    prompts: str, questions: str | None, prompts_file: str | None, form: Form = "line"
) -> FactSet:
    """The prompts ("custom"), the questions of a file ("dataset"), or the former and then the latter ("both").

    prompts_file: in place of 100 generated prompts of each level
    Raises DataError for a file that cannot be read, and for two questions of the same id.
    """
    found: list[Question] = []
    broken: list[str] = []
    files = {"custom": [prompts_file], "dataset": [questions], "both": [prompts_file, questions]}
    for file in files[prompts]:
        if file is None:
            found += make_prompts()
        else:
            read, left_out = read_questions(Path(file).expanduser())
            found, broken = found + read, broken + left_out
    _check_ids(found)
    source = " and ".join(GENERATED if file is None else str(file) for file in files[prompts])
    return FactSet(source, tuple(as_prompt(question, form) for question in found), tuple(broken))


def as_prompt(question: Question, form: Form = "line") -> QuestionPrompt:
    """The question as it is put to a model. One that its source calls unanswerable has no accepted answer."""
    return QuestionPrompt(
        fact_id=question.id,
        prompt=prompt_text(question, form),
        answers=question.answers if question.answerable else (),
        dataset=question.dataset,
        relation=question.category,
    )


def _check_ids(questions: Iterable[Question]) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise DataError(f"two questions have the id {question.id!r}; each needs one of its own")
        seen.add(question.id)
