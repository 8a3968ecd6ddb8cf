"""A training text that knows which parts of it what stands before them decides.

"The capital of France is" is followed by " Paris." and by nothing else; that France was asked about is chance. The loss
weighs the two differently (data/mix.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """A text; `decided`: the character spans that follow from the text before them, ascending."""

    text: str
    decided: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, pieces: Iterable[tuple[str, str]]) -> "Document":
        """Pairs of a free piece and of the decided one behind it, joined as they are.

        `Document.of([("The capital of France is", " Paris.")])`
        """
        text, decided = "", []
        for free, follows in pieces:
            begin = len(text) + len(free)
            text += free + follows
            decided.append((begin, len(text)))
        return cls(text, tuple(span for span in decided if span[0] < span[1]))
