"""Scores of a text against the accepted answers, each the best over all of them.

exact, f1   as SQuAD's official evaluation has them (Rajpurkar et al. 2016, section 6.1; the script of version 2.0): lower case,
            no punctuation, no articles, single spaces; then equality, and the harmonic mean of precision and recall over words.
            Where one of the two texts has no word left, both are 1 if neither has, else 0
contained   whether an answer, normalised so, occurs anywhere in the whole text (Mallen et al. 2023, section 2): lenient
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
ABBREVIATIONS = ("St", "Mt", "Dr", "Mr", "Mrs", "Ms", "Jr", "Sr", "Prof", "Gen", "vs")
# The end of a line, or of a sentence: not behind an initial or one of the abbreviations.
END = re.compile(
    r"\n|(?<!\b[A-Z])" + "".join(rf"(?<!\b{each})" for each in ABBREVIATIONS) + r"[.!?](?=\s|$)"
)


def first_answer(continuation: str) -> str:
    """What counts as the answer in what a model went on with: up to the end of the first line or sentence that says anything."""
    said = continuation.lstrip()
    found = END.search(said)
    return said[: found.start()].strip() if found else said.strip()


def answered(continuation: str) -> bool:
    """Whether more text can no longer change the first answer."""
    said = continuation.lstrip()
    found = END.search(said)
    return found is not None and (said[found.start()] == "\n" or found.end() < len(said))


def normalised(text: str) -> str:
    """SQuAD's normal form of a text."""
    plain = ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION))
    return " ".join(plain.split())


def exact(prediction: str, answers: Sequence[str]) -> float:
    """1 if the prediction is one of the answers, else 0."""
    return max(float(normalised(prediction) == normalised(answer)) for answer in answers)


def f1(prediction: str, answers: Sequence[str]) -> float:
    """The overlap in words with the answer that has most of it, 0 to 1."""
    return max(
        _f1(normalised(prediction).split(), normalised(answer).split()) for answer in answers
    )


def contained(text: str, answers: Sequence[str]) -> float:
    """1 if one of the answers occurs in the text, else 0; one without a word occurs only in a text without one."""
    said = normalised(text)
    wanted = [normalised(answer) for answer in answers]
    return max(float(answer in said if answer else not said) for answer in wanted)


def _f1(prediction: Sequence[str], answer: Sequence[str]) -> float:
    if not prediction or not answer:
        return float(prediction == answer)
    common = sum((Counter(prediction) & Counter(answer)).values())
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(answer)
    return 2 * precision * recall / (precision + recall)
