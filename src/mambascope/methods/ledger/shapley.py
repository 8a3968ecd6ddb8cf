"""Shapley values (Shapley 1953): a total shared out among its players, by what each adds to every coalition of the others.

A coalition is a number whose bit i says whether player i belongs to it.

    shapley_i = sum over coalitions c without i of |c|! (n - |c| - 1)! / n!  *  (worth(c + i) - worth(c))

They sum to the worth of all players together less that of none; players that add the same get the same, and a player that adds
nothing gets nothing.
"""

from math import factorial

import numpy as np
from jaxtyping import Float

Worths = Float[np.ndarray, "coalitions games ..."]


def shapley_values(worths: Worths) -> Float[np.ndarray, "players games ..."]:
    """The value of each player, from the worth of each of the 2^players coalitions, in any number of games at once."""
    players = _players(worths)
    sizes = np.array([coalition.bit_count() for coalition in range(len(worths))])
    values = np.zeros((players, *worths.shape[1:]))
    for player in range(players):
        without = np.flatnonzero((np.arange(len(worths)) >> player) & 1 == 0)
        weight = [
            factorial(k) * factorial(players - k - 1) / factorial(players) for k in sizes[without]
        ]
        values[player] = np.tensordot(
            weight, worths[without | 1 << player] - worths[without], axes=1
        )
    return values


def single_effects(worths: Worths) -> Float[np.ndarray, "players games ..."]:
    """What each player is worth alone."""
    return worths[1 << np.arange(_players(worths))] - worths[0]


def total(worths: Worths) -> Float[np.ndarray, "games ..."]:
    """What all players are worth together."""
    return worths[-1] - worths[0]


def _players(worths: np.ndarray) -> int:
    players = len(worths).bit_length() - 1
    assert len(worths) == 1 << players, "one worth for each coalition"
    return players
