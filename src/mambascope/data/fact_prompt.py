"""A fact as a prompt: what every study over many facts is asked, whichever file it came from."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FactPrompt:
    """One question about one fact.

    fact_id:  unique in its set, and the same each time the set is read
    answer:   None where the model's own top token is to count
    relation: what the fact is about, where the source says so; subjects of one relation can be swapped
    """

    fact_id: str
    prompt: str
    subject: str
    answer: str | None = None
    relation: str | None = None

    @property
    def group(self) -> tuple[str | None, ...]:
        """What a limit takes facts in turn from: their relations."""
        return (self.relation,)


@dataclass(frozen=True, kw_only=True)
class QuestionPrompt(FactPrompt):
    """A question as a prompt; nothing in it is a subject, and `relation` is its category.

    answers: all that are accepted; none where no right answer was published
    dataset: where it is from
    """

    subject: str = ""
    answers: tuple[str, ...]
    dataset: str

    @property
    def group(self) -> tuple[str | None, ...]:
        """A category of one data set, so that a limit leaves something of each."""
        return self.dataset, self.relation


@dataclass(frozen=True)
class FactFailure:
    """A fact or question that a study over many could not ask, and why."""

    fact_id: str
    reason: str
