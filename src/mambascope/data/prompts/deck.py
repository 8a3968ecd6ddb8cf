"""Balanced chance: a deck is dealt to its end before it is shuffled anew."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, TypeVar

Card = TypeVar("Card")


def _any(_: object) -> bool:
    return True


class Deck(Generic[Card]):
    """Deals cards so that, whenever one stops, none was dealt more than once oftener than another."""

    def __init__(self, rng: Random, cards: Sequence[Card]) -> None:
        self._rng, self._cards = rng, cards
        self._left: list[Card] = []

    def deal(self, fits: Callable[[Card], bool] = _any) -> Card:
        """The next card that fits; those passed over come first the next time, so balance is lost by a little only."""
        for place, card in enumerate(self._left):
            if fits(card):
                return self._left.pop(place)
        self._left += self._rng.sample(self._cards, len(self._cards))
        return self.deal(fits)
