"""Puzzles: facts in order, a question, and the one answer that follows from the facts.

    recall     one fact answers. Beside it stand facts of its kind about others, and facts of another kind about its person and
               about one of the others
    chain      links lead from person to person to the answer. Beside it stands a second chain of the same roles and kind
    hand_over  a thing goes from hand to hand, and the question is about whoever has it in the end

So no answer can be told by its kind, by its person, by its place or by how often a name occurs. All people of a puzzle have names
without a part in common, kept from the training of the bundled models, and all answers of one kind differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from mambascope.data.invented import (
    KINDS,
    LINK_WORDINGS,
    LINKED,
    OBJECTS,
    ROLES,
    Kind,
    held_out_names,
)
from mambascope.data.prompts.deck import Deck

OWNED = KINDS[0]  # things, which can be handed over


@dataclass(frozen=True)
class Puzzle:
    """A puzzle.

    used:   the indices of the facts that the answer follows from, the one that names it last
    rivals: how many answers of the right kind the facts name, the right one among them
    """

    facts: tuple[str, ...]
    question: str
    answer: str
    used: tuple[int, ...]
    rivals: int


class Cards:
    """What the puzzles of one level are dealt from."""

    def __init__(self, rng: Random, kinds: Sequence[Kind] = KINDS) -> None:
        self.rng = rng
        self.kinds = Deck(rng, kinds)
        self.things = Deck(rng, OBJECTS)
        self._names = Deck(rng, held_out_names())
        self._right = {kind.name: Deck(rng, kind.answers) for kind in KINDS}
        self._wrong = {kind.name: Deck(rng, kind.answers) for kind in KINDS}
        self._places: dict[range, Deck[int]] = {}

    def people(self, count: int) -> list[str]:
        """So many names without a part in common."""
        found: list[str] = []
        for _ in range(count):
            parts = {part for name in found for part in name.split()}
            found.append(self._names.deal(lambda name, parts=parts: parts.isdisjoint(name.split())))
        return found

    def answers(self, kind: Kind, wrong: int) -> tuple[str, list[str]]:
        """The right answer and so many wrong ones, all different."""
        right = self._right[kind.name].deal()
        found = [right]
        for _ in range(wrong):
            found.append(self._wrong[kind.name].deal(lambda answer: answer not in found))
        return right, found[1:]

    def place(self, among: range) -> int:
        """Where the fact stands that names the answer."""
        return self._places.setdefault(among, Deck(self.rng, among)).deal()


def recall(cards: Cards, size: int) -> Puzzle:
    """One fact answers, `size` - 3 others are of its kind, and two of another kind are about its person and one other."""
    rng, kind = cards.rng, cards.kinds.deal()
    who, *others = cards.people(size - 2)
    right, wrong = cards.answers(kind, size - 3)
    beside = rng.choice([other for other in KINDS if other is not kind])
    told = zip((who, others[0]), rng.sample(beside.answers, 2), strict=True)
    facts = [_said(rng, kind, *each) for each in zip(others, wrong, strict=True)]
    facts += [_said(rng, beside, *each) for each in told]
    rng.shuffle(facts)
    place = cards.place(range(size))
    facts.insert(place, _said(rng, kind, who, right))
    return Puzzle(tuple(facts), _asked(rng, kind, who), right, (place,), 1 + len(wrong))


def chain(cards: Cards, size: int) -> Puzzle:
    """Two chains of `size` / 2 facts, the last of which names the answer."""
    rng, kind, links = cards.rng, cards.kinds.deal(), size // 2 - 1
    people = cards.people(size)
    roles = [rng.choice(ROLES) for _ in range(links)]
    right, (wrong,) = cards.answers(kind, 1)
    place = cards.place(range(links, size))
    used = (*sorted(rng.sample(range(place), links)), place)
    asked = _chained(rng, people[: links + 1], roles, kind, right)
    beside = iter(_chained(rng, people[links + 1 :], roles, kind, wrong))
    facts = [asked[used.index(i)] if i in used else next(beside) for i in range(size)]
    who, linked = (
        people[0],
        rng.choice(LINKED),
    )  # mixed forms, as in "the aunt of X's friend", would have two meanings
    for role in roles:
        who = linked.format(who=who, role=role)
    return Puzzle(tuple(facts), _asked(rng, kind, who), right, used, 2)


def hand_over(cards: Cards, size: int) -> Puzzle:
    """A thing goes through `size` / 2 hands; of each of these people one fact of the kind is told that is asked about."""
    rng, kind = cards.rng, cards.kinds.deal()
    thing, hands = cards.things.deal(), cards.people(size // 2)
    right, wrong = cards.answers(kind, len(hands) - 1)
    place = cards.place(range(size))
    told = [_said(rng, kind, *each) for each in zip(hands, wrong, strict=False)]
    rng.shuffle(told)
    moves = [OWNED.wordings[0].format(who=hands[0], what=thing)]
    for giver, taker in pairwise(hands):
        moves.append(f"{giver} gives the {thing} to {taker}.")
    before = set(rng.sample([i for i in range(size) if i != place], len(moves)))
    answering = _said(rng, kind, hands[-1], right)
    left, moving = iter(told), iter(moves)
    facts = [
        answering if i == place else next(moving) if i in before else next(left)
        for i in range(size)
    ]
    question = _asked(rng, kind, f"the owner of the {thing}")
    return Puzzle(tuple(facts), question, right, (*sorted(before), place), len(hands))


def _chained(
    rng: Random, people: Sequence[str], roles: Sequence[str], kind: Kind, answer: str
) -> list[str]:
    """The facts of a chain in its order."""
    links = [
        rng.choice(LINK_WORDINGS).format(who=who, role=role, what=what)
        for who, role, what in zip(people, roles, people[1:], strict=False)
    ]
    return [_sentence(text) for text in (*links, _said(rng, kind, people[-1], answer))]


def _said(rng: Random, kind: Kind, who: str, what: str) -> str:
    return _sentence(rng.choice(kind.wordings).format(who=who, what=what))


def _asked(rng: Random, kind: Kind, who: str) -> str:
    return rng.choice(kind.questions).format(who=who)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
