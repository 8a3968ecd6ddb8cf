"""In-context passages: statements about invented people, then questions that the statements answer.

One step: "Bora Dalgor has the key. Question: What belongs to Bora Dalgor? Answer:" -> "key".
Two steps: "The friend of Bora Dalgor is Fenil Torlum. Fenil Torlum has the key." and the question names only Bora Dalgor.
Everything is drawn from the `random.Random` that is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from mambascope.data.document import Document
from mambascope.data.invented import (
    KINDS,
    LINK_QUESTIONS,
    LINK_WORDINGS,
    LINKED,
    ROLES,
    Kind,
    training_names,
)
from mambascope.errors import DataError

OPENING = "Passage:"
FEWEST, MOST = 2, 12
TWO_STEP_SHARE = 0.25
MOST_QUESTIONS = 8


@dataclass(frozen=True)
class Question:
    """A question: `text` ends in "Answer:"; `position` is the statement that holds the answer."""

    text: str
    answer: str
    hops: int
    position: int


@dataclass(frozen=True)
class Passage:
    """Statements, and questions of which each can be answered from them."""

    statements: tuple[str, ...]
    questions: tuple[Question, ...]

    def prompt(self, question: Question) -> str:
        """All statements, then the question; what a model has to continue."""
        return " ".join([OPENING, *self.statements, question.text])

    def document(self) -> Document:
        """All statements, then each question with its answer."""
        said = " ".join([OPENING, *self.statements])
        asked = [(f" {question.text}", f" {question.answer}.") for question in self.questions]
        return Document.of([(said, ""), *asked])


@dataclass(frozen=True)
class Claim:
    """What one statement says: of `who`, by a kind of statement or a role, `what`."""

    who: str
    kind: Kind | None
    role: str
    what: str

    def worded(self, rng: Random) -> str:
        """The statement, in one of its wordings."""
        wordings = LINK_WORDINGS if self.kind is None else self.kind.wordings
        text = rng.choice(wordings).format(who=self.who, role=self.role, what=self.what)
        return text[0].upper() + text[1:]


def make_passage(
    rng: Random,
    n_statements: int,
    hops: int = 1,
    n_questions: int = 1,
    names: Sequence[str] | None = None,
) -> Passage:
    """A passage of `n_statements`, asked `n_questions` different questions of `hops` steps.

    Fewer questions are asked where the statements do not allow as many.
    """
    claims = make_claims(rng, n_statements, hops, names or training_names())
    questions = questions_of(rng, claims, hops)
    return Passage(tuple(claim.worded(rng) for claim in claims), tuple(questions[:n_questions]))


def training_passage(rng: Random) -> Passage:
    """A passage as it is met in training: more often short than long, up to eight questions, two steps before one."""
    hops = 2 if rng.random() < TWO_STEP_SHARE else 1
    n_statements = min(rng.randint(FEWEST, MOST), rng.randint(FEWEST, MOST))
    claims = make_claims(rng, n_statements, hops, training_names())
    questions = [q for steps in range(hops, 0, -1) for q in questions_of(rng, claims, steps)]
    n_questions = rng.randint(2, MOST_QUESTIONS)
    return Passage(tuple(claim.worded(rng) for claim in claims), tuple(questions[:n_questions]))


def make_claims(rng: Random, n_statements: int, hops: int, names: Sequence[str]) -> list[Claim]:
    """What a passage says, in the order in which it says it."""
    if not FEWEST <= n_statements <= MOST:
        raise DataError(f"a passage has {FEWEST} to {MOST} statements, not {n_statements}")
    if hops not in (1, 2):
        raise DataError(f"a question takes 1 or 2 steps, not {hops}")
    n_links = rng.randint(1, n_statements // 2) if hops == 2 else 0
    claims = unordered_claims(rng, n_statements - n_links, n_links, names)
    rng.shuffle(claims)
    return claims


def questions_of(rng: Random, claims: list[Claim], hops: int) -> list[Question]:
    """Every question of `hops` steps that the claims answer, in random order."""
    questions = one_step_questions(rng, claims) if hops == 1 else two_step_questions(rng, claims)
    rng.shuffle(questions)
    return questions


def unordered_claims(rng: Random, n_plain: int, n_links: int, names: Sequence[str]) -> list[Claim]:
    """Plain claims of few kinds, so that kinds repeat, and links from new people to their subjects."""
    people = rng.sample(names, n_plain + n_links)
    kinds = rng.sample(KINDS, min(len(KINDS), rng.choice((1, 1, 2, 3))))
    pools = {kind.name: rng.sample(kind.answers, MOST) for kind in kinds}
    plain: list[Claim] = []
    for who in people[:n_plain]:
        kind = rng.choice(kinds)
        plain.append(Claim(reused(rng, who, kind, plain), kind, "", pools[kind.name].pop()))
    subjects = sorted({claim.who for claim in plain})
    rng.shuffle(subjects)
    links = [
        Claim(who, None, rng.choice(ROLES), subject)
        for who, subject in zip(people[n_plain:], subjects, strict=False)
    ]
    return plain + links + extra_claims(rng, n_links - len(links), kinds, pools, people[::-1])


def extra_claims(
    rng: Random, missing: int, kinds: list[Kind], pools: dict[str, list[str]], people: list[str]
) -> list[Claim]:
    """Plain claims about new people where there were fewer subjects to link to than links."""
    chosen = [rng.choice(kinds) for _ in range(missing)]
    return [
        Claim(who, kind, "", pools[kind.name].pop())
        for who, kind in zip(people[:missing], chosen, strict=True)
    ]


def reused(rng: Random, new: str, kind: Kind, plain: list[Claim]) -> str:
    """Now and then somebody already spoken of, if this kind of statement is not yet made of them."""
    taken = {claim.who for claim in plain if claim.kind == kind}
    free = sorted({claim.who for claim in plain} - taken)
    return rng.choice(free) if free and rng.random() < 0.3 else new


def one_step_questions(rng: Random, claims: list[Claim]) -> list[Question]:
    """One question about each claim."""
    questions = []
    for position, claim in enumerate(claims):
        asked = LINK_QUESTIONS if claim.kind is None else claim.kind.questions
        text = rng.choice(asked).format(who=claim.who, role=claim.role)
        questions.append(Question(f"Question: {text} Answer:", claim.what, 1, position))
    return questions


def two_step_questions(rng: Random, claims: list[Claim]) -> list[Question]:
    """For each link, one question about what is said of the person at its end."""
    questions = []
    for link in (claim for claim in claims if claim.kind is None):
        ends = [(i, c) for i, c in enumerate(claims) if c.kind is not None and c.who == link.what]
        position, claim = rng.choice(ends)
        assert claim.kind is not None
        who = rng.choice(LINKED).format(who=link.who, role=link.role)
        text = rng.choice(claim.kind.questions).format(who=who)
        questions.append(Question(f"Question: {text} Answer:", claim.what, 2, position))
    return questions
