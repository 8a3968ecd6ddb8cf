"""What a knockout is asked: a prompt, the positions of its sources and targets, and the token whose probability is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mambascope.errors import PromptError
from mambascope.interventions.prompt import SubjectPrompt, answer_token, read_prompt
from mambascope.methods.knockout.roles import positions_of, sources_of
from mambascope.methods.knockout.settings import Settings

Prompt = str | Sequence[int] | Tensor


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt that is asked.

    targets: positions that no longer read
    sources: by name of the source its positions; those that the prompt has
    missing: by name of the source why the prompt has none
    answer:  the answer's token id; None for the model's own top token
    """

    prompt: Prompt
    asked: SubjectPrompt
    targets: list[int]
    sources: dict[str, list[int]]
    missing: dict[str, str]
    answer: int | None


def ask(
    settings: Settings, prompt: Prompt, subject: str | slice, answer: str | int | None
) -> Question:
    """Everything about one prompt that needs no forward pass.

    Raises PromptError if subject, answer or target do not fit the prompt, a prompt not the model, or all sources are missing.
    """
    model, config = settings.model, settings.config
    asked = read_prompt(model, prompt, subject)
    model.check_length(len(asked.ids))
    targets = positions_of(config.target, asked)
    find = _each if config.by_position else _named
    sources, missing = find(settings, asked, targets)
    if not sources:
        raise PromptError("; ".join(missing.values()))
    found = None if answer is None else answer_token(model, prompt, answer, asked.ids)
    return Question(prompt, asked, targets, sources, missing, found)


def _named(
    settings: Settings, asked: SubjectPrompt, targets: list[int]
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """The sources that are named, and why some are missing."""
    sources: dict[str, list[int]] = {}
    missing: dict[str, str] = {}
    itself, config = settings.route != "conv", settings.config
    for name in config.sources:
        try:
            found = sources_of(name, asked, targets, config.seed, itself=itself)
            _check_seen(settings, name, found, targets)
        except PromptError as error:
            missing[name] = str(error)
        else:
            sources[name] = found
    return sources, missing


def _each(
    settings: Settings, asked: SubjectPrompt, targets: list[int]
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Every position; one that no target reads is a source whose knockout changes nothing."""
    sources: dict[str, list[int]] = {}
    missing: dict[str, str] = {}
    for place in range(len(asked.ids)):
        try:
            _check_seen(settings, str(place), [place], targets)
        except PromptError as error:
            missing[str(place)] = str(error)
        else:
            sources[str(place)] = [place]
    return sources, missing


def _check_seen(settings: Settings, name: str, sources: list[int], targets: list[int]) -> None:
    """PromptError where masking would leave a target nothing to attend to."""
    if settings.config.mode != "mask":
        return
    bare = [target for target in targets if set(range(target + 1)) <= set(sources)]
    if bare:
        raise PromptError(
            f"masking source {name!r} leaves the token at position {bare[0]} nothing to attend to; use mode 'zero'"
        )
