"""Invented names, and the statements and questions about them that passages are made of.

Names are two or three syllables; a stable hash keeps a fifth of them out of every training document.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

FIRST = (
    "Bor Dal Fen Gar Hel Jor Kel Lom Mor Nol Pel Quin Rav Sel Tor Vel Wen Yar Zan Bri Cra Dro Fla "
    "Gri Kra Plu Sko Tre Vra Zil Hov Jux Mib Nud Pog Rul Sav Tig Wob Yev"
).split()
MIDDLE = "da fi go lu mo ne ri sa te vo".split()
LAST = (
    "bak del fin gor kus lith mana neb riv sol tun vesh zira kott lum dax peth rund shaw tim wick "
    "zel gam mund fray hoss jen pim quor sten"
).split()
THREE_SYLLABLES_IN = 6
HELD_OUT_IN = 5


def stable_number(text: str) -> int:
    """A number that depends on `text` alone, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@cache
def invented_names() -> tuple[str, ...]:
    """All names: every pair of syllables, and one in six of the triples."""
    pairs = [first + last for first in FIRST for last in LAST]
    triples = [first + middle + last for first in FIRST for middle in MIDDLE for last in LAST]
    kept = [name for name in triples if stable_number("triple/" + name) % THREE_SYLLABLES_IN == 0]
    return tuple(pairs + kept)


def is_held_out_name(name: str) -> bool:
    """Whether `name` is kept out of training."""
    return stable_number("held out/" + name) % HELD_OUT_IN == 0


@cache
def training_names() -> tuple[str, ...]:
    """The names that may occur in training documents."""
    return tuple(name for name in invented_names() if not is_held_out_name(name))


@cache
def held_out_names() -> tuple[str, ...]:
    """The names that occur in no training document."""
    return tuple(name for name in invented_names() if is_held_out_name(name))


@dataclass(frozen=True)
class Kind:
    """One sort of statement. `{who}` is its subject, `{what}` its answer, in the question `{who}` only."""

    name: str
    wordings: tuple[str, ...]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


COLOURS = tuple("red blue green white black brown grey purple yellow pink golden silver".split())
OBJECTS = tuple(
    "key lamp book coin drum hat rope knife bowl ring map boot clock flute basket mirror "
    "candle hammer blanket bottle".split()
)
PLACES = tuple(
    "mill harbour forest castle market village valley tower garden desert library bakery "
    "station temple palace cellar meadow canyon lighthouse barn school hospital museum quarry "
    "chapel prison hotel farm windmill fortress".split()
)
TRADES = tuple(
    "baker carpenter doctor farmer fisher gardener hunter judge lawyer miller nurse painter "
    "pilot poet sailor singer soldier tailor teacher weaver writer butcher dancer barber "
    "plumber printer potter shepherd builder clerk".split()
)
ANIMALS = tuple(
    "dog cat horse goat cow sheep parrot rabbit donkey camel falcon turtle pig duck hen "
    "pony raven lizard monkey frog".split()
)
FOODS = tuple(
    "bread cheese rice soup fish honey beans cake pears plums nuts corn stew salad pudding "
    "cherries lentils noodles pancakes grapes".split()
)
THINGS = tuple(f"{colour} {thing}" for colour in COLOURS for thing in OBJECTS)

KINDS = (
    Kind(
        "thing",
        ("{who} has the {what}.", "{who} owns the {what}.", "The {what} belongs to {who}."),
        ("What does {who} have?", "Which thing belongs to {who}?"),
        THINGS,
    ),
    Kind(
        "place",
        ("{who} lives in the {what}.", "The home of {who} is the {what}.", "You can find {who} in the {what}."),
        ("Where does {who} live?", "Where can you find {who}?"),
        PLACES,
    ),
    Kind(
        "trade",
        ("{who} works as a {what}.", "{who} is a {what}.", "By trade, {who} is a {what}."),
        ("What is the work of {who}?", "What is the trade of {who}?"),
        TRADES,
    ),
    Kind(
        "animal",
        ("{who} keeps a {what}.", "The pet of {who} is a {what}.", "A {what} follows {who} everywhere."),
        ("Which animal does {who} keep?", "What is the pet of {who}?"),
        ANIMALS,
    ),
    Kind(
        "food",
        ("{who} likes to eat {what}.", "The favourite food of {who} is {what}.", "For dinner, {who} wants {what}."),
        ("What does {who} like to eat?", "What is the favourite food of {who}?"),
        FOODS,
    ),
    Kind(
        "colour",
        (
            "{who} likes the colour {what}.",
            "The favourite colour of {who} is {what}.",
            "{who} paints everything {what}.",
        ),
        ("Which colour does {who} like?", "What is the favourite colour of {who}?"),
        COLOURS,
    ),
)  # fmt: skip
ROLES = ("friend", "neighbour", "sister", "brother", "uncle", "cousin")
LINK_WORDINGS = ("{who}'s {role} is {what}.", "The {role} of {who} is {what}.")
LINK_QUESTIONS = ("Who is {who}'s {role}?", "Who is the {role} of {who}?")
LINKED = ("{who}'s {role}", "the {role} of {who}")
