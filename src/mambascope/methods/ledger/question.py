"""What a ledger is asked: a prompt, the target whose mixers are looked at, the sources before it, and the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mambascope.errors import PromptError
from mambascope.interventions.controls import random_others
from mambascope.interventions.prompt import SubjectPrompt, answer_token, read_prompt
from mambascope.methods.ledger.config import NUMBERS, LedgerConfig
from mambascope.models.language_model import LanguageModel
from mambascope.results.schema import CONTROL

Prompt = str | Sequence[int] | Tensor


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt that is asked.

    target:  the position whose mixers are looked at
    sources: by name the positions of each source that the prompt has before the target, ascending
    missing: why it lacks the others
    answer:  the answer's token id; None for the model's own top token
    """

    prompt: Prompt
    asked: SubjectPrompt
    target: int
    sources: dict[str, list[int]]
    missing: list[str]
    answer: int | None


def ask(
    model: LanguageModel,
    prompt: Prompt,
    subject: str | slice,
    answer: str | int | None,
    config: LedgerConfig,
) -> Question:
    """Everything about one prompt that needs no forward pass.

    Raises PromptError if subject, answer or target do not fit the prompt, a prompt not the model, or it has none of the sources.
    """
    asked = read_prompt(model, prompt, subject)
    model.check_length(len(asked.ids))
    target = _within(config.target, len(asked.ids), "target")
    sources: dict[str, list[int]] = {}
    missing: list[str] = []
    for name in config.sources:
        if found := source_positions(name, asked, target, config.seed):
            sources[name] = found
        else:
            missing.append(_why_not(name, target))
    if not sources:
        raise PromptError("; ".join(missing))
    chosen = None if answer is None else answer_token(model, prompt, answer, asked.ids)
    return Question(prompt, asked, target, sources, missing, chosen)


def source_positions(name: str, asked: SubjectPrompt, target: int, seed: int) -> list[int]:
    """The positions of a source before the target; none if the prompt has no such token there, or too few for a control.

    Raises PromptError for a numbered position that the prompt lacks or that is not before the target.
    """
    if name.startswith(CONTROL):
        own = source_positions(name.removeprefix(CONTROL), asked, target, seed)
        return random_others(name, own, [target], asked.ids, seed)
    if NUMBERS.fullmatch(name):
        found = sorted({_within(int(n), len(asked.ids), "source") for n in name.split(",")})
        if found[-1] >= target:
            raise PromptError(
                f"source {name!r} is not before the target, which is position {target}; name positions before it"
            )
        return found
    if name == "subject":
        return [*range(asked.start, min(asked.stop, target))]
    return [place for place, role in enumerate(asked.roles[:target]) if name in ("all", role)]


def _why_not(name: str, target: int) -> str:
    if name.startswith(CONTROL):
        return f"{name!r} needs as many other positions before the target, position {target}, as its source has"
    return f"no token before the target, position {target}, is {name!r}"


def _within(position: int, length: int, what: str) -> int:
    if not -length <= position < length:
        raise PromptError(
            f"{what} position {position} is out of range: the prompt has positions 0 to {length - 1}"
        )
    return position % length
