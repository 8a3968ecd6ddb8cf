"""The forms in which questions are put to a model; a prompt of the user's own stays as it is."""

from typing import Literal

from mambascope.data.question import Question

ORIGINAL = "original"  # the data set of prompts that the user wrote
Form = Literal["line", "lines"]


def prompt_text(question: Question, form: Form = "line") -> str:
    """What a model has to continue: "Passage: CONTEXT Question: QUESTION Answer:", the first part only where there is a context.

    form: "line", as in the passages that the bundled models learn from (data/passages.py); "lines" with a line for each part, as
          most texts on the web have it and other harnesses ask
    """
    if question.dataset == ORIGINAL:
        return question.question
    said = [f"Passage: {question.context}"] if question.context else []
    between = " " if form == "line" else "\n"
    return between.join([*said, f"Question: {question.question}", "Answer:"])
