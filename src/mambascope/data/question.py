"""A question with its context and every answer that counts: one record for published question sets and for generated prompts."""

from dataclasses import dataclass
from typing import Literal, get_args

Category = Literal[
    "simple_recall",
    "two_hop",
    "three_hop",
    "long_context",
    "reasoning_memory",
    "stress",
    "query",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
LEVELS = CATEGORIES[:6]  # those that prompts are generated for; a query has no context


@dataclass(frozen=True)
class Passage:
    """A piece of the context; `title` is empty where it has none."""

    title: str
    text: str


@dataclass(frozen=True)
class SupportingFact:
    """Where in the context the answer comes from.

    passage:  index in the question's passages
    sentence: as it stands there; None for the passage as a whole
    """

    passage: int
    sentence: str | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question.

    id:            unique among all data sets, and the same each time the source is read
    dataset:       squad, nq, ..., or what the prompts are called
    passages:      in the order in which they are given; none for a question asked from memory
    answers:       all that are accepted, without repetition; none where no right answer was published
    hops:          steps of reasoning, where the source says how many
    supporting:    empty where the source does not say
    origin:        file and record that it was read from, or how it was made
    category:      what it demands; None where no rule gives it a category
    reason:        why it has that category, or none
    question_type: in the data set's own words, such as "bridge" or "number"
    answerable:    False where the source says that the context does not hold the answer
    """

    id: str
    dataset: str
    question: str
    passages: tuple[Passage, ...]
    answers: tuple[str, ...]
    hops: int | None = None
    supporting: tuple[SupportingFact, ...] = ()
    origin: str
    category: Category | None = None
    reason: str = ""
    question_type: str | None = None
    answerable: bool = True

    @property
    def context(self) -> str:
        """All passages as one text, each under its title, with empty lines between them."""
        return "\n\n".join(f"{p.title}\n{p.text}" if p.title else p.text for p in self.passages)
