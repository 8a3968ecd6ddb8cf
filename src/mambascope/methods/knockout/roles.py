"""Roles: the positions of a prompt that a knockout speaks of, by name.

first, last            the prompt's first and last token
subject, subject_first, subject_last
context                what stands before the subject
after                  what stands behind it, the last token included
relation               all outside the subject: context and after (Endy et al. 2025, arXiv 2505.24244)
relation_minus_last    the same without the last token
all                    every position
3,4                    these positions, negative ones counted from the end
random:ROLE            as many other positions as the role has, none of them a target: a matched control

A role that a prompt does not have is an error that says why.
"""

import re
from collections.abc import Sequence

from mambascope.errors import ConfigError, PromptError
from mambascope.interventions.controls import random_others
from mambascope.interventions.prompt import SubjectPrompt
from mambascope.results.schema import CONTROL

ROLES = (
    "first", "last", "subject", "subject_first", "subject_last", "relation", "relation_minus_last", "context", "after",
    "all",
)  # fmt: skip
EACH = "each"
NUMBERS = re.compile(r"\s*-?\d+\s*(,\s*-?\d+\s*)*")


def check_role(name: str, what: str, *, several: bool = False) -> None:
    """ConfigError unless this names positions; `several`: random:ROLE and each do, too."""
    plain = name.removeprefix(CONTROL) if several else name
    if plain in ROLES or NUMBERS.fullmatch(plain) or (several and name == EACH):
        return
    more = f", {CONTROL}ROLE, {EACH}" if several else ""
    raise ConfigError(
        f"unknown {what} {name!r}; it is one of: {', '.join(ROLES)}{more}, or positions such as 3,4"
    )


def positions_of(name: str, asked: SubjectPrompt) -> list[int]:
    """The positions that a role or a list of positions means, ascending; PromptError if there is none."""
    last = len(asked.ids) - 1
    if NUMBERS.fullmatch(name):
        return sorted({_within(int(number), last + 1) for number in name.split(",")})
    start, stop = asked.start, asked.stop
    outside = [*range(start), *range(stop, last + 1)]
    found = {
        "first": [0],
        "last": [last],
        "subject": [*range(start, stop)],
        "subject_first": [start],
        "subject_last": [stop - 1],
        "relation": outside,
        "relation_minus_last": [place for place in outside if place != last],
        "context": [*range(start)],
        "after": [*range(stop, last + 1)],
        "all": [*range(last + 1)],
    }[name]
    if not found:
        raise PromptError(f"no token of the prompt is {name!r}; {_why(name)}")
    return found


def sources_of(
    name: str, asked: SubjectPrompt, targets: Sequence[int], seed: int, *, itself: bool = True
) -> list[int]:
    """The positions of a source that a target reads from; PromptError if there is none.

    itself: whether a target reads from its own position, as by every route but the convolution's
    """
    drawn = name.startswith(CONTROL)
    found = _random(name, asked, targets, seed) if drawn else positions_of(name, asked)
    last = max(targets)
    if found[0] > last or (found[0] == last and not itself):
        raise PromptError(
            f"no target reads source {name!r}: it begins at position {found[0]}, and the last target is at {last}"
        )
    return found


def _random(name: str, asked: SubjectPrompt, targets: Sequence[int], seed: int) -> list[int]:
    own = positions_of(name.removeprefix(CONTROL), asked)
    found = random_others(name, own, targets, asked.ids, seed)
    if not found:
        raise PromptError(
            f"{name!r} needs {len(own)} positions beside the role and the target, but the prompt has fewer"
        )
    return found


def _within(position: int, length: int) -> int:
    if not -length <= position < length:
        raise PromptError(
            f"position {position} is out of range: the prompt has positions 0 to {length - 1}"
        )
    return position % length


def _why(name: str) -> str:
    before, behind = "the subject is its beginning", "the subject is its end"
    return {"context": before, "after": behind}.get(name, "the subject is all or nearly all of it")
