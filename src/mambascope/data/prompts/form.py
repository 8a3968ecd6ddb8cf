"""The one form in which questions are put to a model; a prompt of the user's own stays as it is."""

from mambascope.data.question import Question

ORIGINAL = "original"  # the data set of prompts that the user wrote


def prompt_text(question: Question) -> str:
    """What a model has to continue: "Passage: CONTEXT Question: QUESTION Answer:", the first part only where there is a context.

    It is the form of the passages that the bundled models learn from (data/passages.py).
    """
    if question.dataset == ORIGINAL:
        return question.question
    said = [f"Passage: {question.context}"] if question.context else []
    return " ".join([*said, f"Question: {question.question} Answer:"])
