"""Invented people, and the statements and questions about them that passages are made of.

A name is a given name and a family name; each of the two is one token, so that what a model holds in mind is what it is told
and not how a name is spelt. A stable hash keeps a fifth of the pairs out of every training document.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

STEMS = (
    "Bor Dal Fen Gar Hel Jor Kel Lom Mor Nol Pel Quin Rav Sel Tor Vel Wen Yar Zan Bri Cra Dro Fla "
    "Gri Kra Plu Sko Tre Vra Zil Hov Jux Mib Nud Pog Rul Sav Tig Wob Yev"
).split()
GIVEN_ENDINGS = "a en il ox".split()
FAMILY_ENDINGS = "bak dith gor kott lum neb riv zira".split()
HELD_OUT_IN = 5


def stable_number(text: str) -> int:
    """A number that depends on `text` alone, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@cache
def given_names() -> tuple[str, ...]:
    """One given name for each stem."""
    return tuple(stem + GIVEN_ENDINGS[i % len(GIVEN_ENDINGS)] for i, stem in enumerate(STEMS))


@cache
def family_names() -> tuple[str, ...]:
    """One family name for each stem."""
    return tuple(stem + FAMILY_ENDINGS[i % len(FAMILY_ENDINGS)] for i, stem in enumerate(STEMS))


@cache
def invented_names() -> tuple[str, ...]:
    """All names: every given name with every family name of another stem."""
    return tuple(
        f"{given} {family}"
        for i, given in enumerate(given_names())
        for j, family in enumerate(family_names())
        if i != j
    )


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

# In every wording the answer stands close behind the name, and in every question the name close before the answer's place:
# what is asked of a model is to bind and to look up, not to parse.
KINDS = (
    Kind(
        "thing",
        ("{who} has the {what}.", "{who} owns the {what}."),
        ("What is owned by {who}?", "What belongs to {who}?"),
        OBJECTS,
    ),
    Kind(
        "place",
        ("{who} lives at the {what}.", "{who} is from the {what}."),
        ("Where is the home of {who}?", "Where do you find {who}?"),
        PLACES,
    ),
    Kind(
        "trade",
        ("{who} works as a {what}.", "{who} is a {what}."),
        ("What is the work of {who}?", "What is the trade of {who}?"),
        TRADES,
    ),
    Kind(
        "animal",
        ("{who} keeps a {what}.", "{who} feeds a {what}."),
        ("What is the pet of {who}?", "Which animal lives with {who}?"),
        ANIMALS,
    ),
    Kind(
        "food",
        ("{who} eats {what}.", "{who} cooks {what}."),
        ("What is the food of {who}?", "What is the dinner of {who}?"),
        FOODS,
    ),
    Kind(
        "colour",
        ("{who} likes {what}.", "{who} wears {what}."),
        ("Which colour suits {who}?", "What is the colour of {who}?"),
        COLOURS,
    ),
)  # fmt: skip
ROLES = ("friend", "neighbour", "sister", "brother", "uncle", "cousin")
LINK_WORDINGS = ("{who}'s {role} is {what}.", "The {role} of {who} is {what}.")
LINK_QUESTIONS = ("Who is {who}'s {role}?", "Who is the {role} of {who}?")
LINKED = ("{who}'s {role}", "the {role} of {who}")
