"""The six levels of prompts, from one fact to hold in mind to a dozen: what each is made of, and making them.

The same seed and number give the same prompts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mambascope.data.invented import KINDS
from mambascope.data.prompts.deck import Deck
from mambascope.data.prompts.puzzles import Cards, Puzzle, chain, hand_over, recall
from mambascope.data.question import Category, Passage, Question, SupportingFact
from mambascope.errors import DataError

CUSTOM = "custom"  # the data set of these prompts
OTHER_THAN_THINGS = KINDS[1:]


@dataclass(frozen=True)
class Level:
    """How the prompts of a level are made.

    sizes: how many facts a prompt may have, each as often as the others
    hops:  the steps from the question to its answer
    """

    name: Category
    sizes: tuple[int, ...]
    hops: int
    make: Callable[[Cards, int], Puzzle]

    def cards(self, seed: int) -> Cards:
        """What its prompts are dealt from."""
        kinds = OTHER_THAN_THINGS if self.make is hand_over else KINDS
        return Cards(Random(f"{seed}/{self.name}"), kinds)


LEVELS = (
    Level("simple_recall", (4,), 1, recall),
    Level("two_hop", (4,), 2, chain),
    Level("three_hop", (6,), 3, chain),
    Level("long_context", (5, 6, 7), 1, recall),
    Level("reasoning_memory", (6,), 2, hand_over),
    Level("stress", (10, 11, 12), 1, recall),
)


def make_prompts(per_level: int = 100, seed: int = 0) -> list[Question]:
    """So many prompts of each level, no two alike; DataError unless it is 1 or more.

    Answers of each kind, places of the answering fact, sizes and kinds are balanced by decks.
    """
    if per_level < 1:
        raise DataError(f"per_level must be at least 1, not {per_level}")
    return [prompt for level in LEVELS for prompt in _of_level(level, per_level, seed)]


def _of_level(level: Level, count: int, seed: int) -> list[Question]:
    cards, seen = level.cards(seed), set[str]()
    sizes = Deck(cards.rng, level.sizes)
    made = []
    while len(made) < count:
        puzzle = level.make(cards, sizes.deal())
        prompt = _record(level, puzzle, len(made), seed)
        if prompt.context not in seen:
            seen.add(prompt.context)
            made.append(prompt)
    return made


def _record(level: Level, puzzle: Puzzle, number: int, seed: int) -> Question:
    steps = f"{level.hops} step{'s' if level.hops > 1 else ''}"
    place, chance = puzzle.used[-1] + 1, f"1 of {puzzle.rivals}"
    return Question(
        id=f"{CUSTOM}/{level.name}/{number:04d}",
        dataset=CUSTOM,
        question=puzzle.question,
        passages=(Passage("", " ".join(puzzle.facts)),),
        answers=(puzzle.answer,),
        hops=level.hops,
        supporting=tuple(SupportingFact(0, puzzle.facts[i]) for i in puzzle.used),
        origin=f"mambascope prompts, seed {seed}",
        category=level.name,
        reason=f"made so: {len(puzzle.facts)} facts, {steps}, the answer in fact {place}, {chance} of its kind",
        question_type=level.make.__name__,
    )
