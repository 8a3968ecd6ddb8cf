"""The corrupted side of a trace: other embeddings of the subject, or another subject.

noise: Gaussian, a multiple of the standard deviation of the subject tokens' embeddings (Meng et al. 2022, section 2.1)
mean:  the mean embedding of other subjects, or of a text, on every subject token
swap:  the same prompt about another subject; tokens after the subject, and the subjects' last tokens, are partners
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mambascope.errors import ConfigError, PromptError
from mambascope.interventions.prompt import SubjectPrompt, read_prompt
from mambascope.methods.tracing.config import TracingConfig
from mambascope.models.language_model import LanguageModel
from mambascope.models.prompts import to_ids
from mambascope.sites import Edit


@dataclass(frozen=True, eq=False)
class SubjectStatistics:
    """The embeddings of a fact set's subject tokens: their mean (D,) and the standard deviation over all their entries."""

    mean: Float[Tensor, " D"]
    sigma: float


def subject_statistics(model: LanguageModel, facts: Sequence[tuple[str, str]]) -> SubjectStatistics:
    """The statistics of all subject tokens of (prompt, subject) pairs. Raises PromptError where a subject is not found."""
    ids: list[int] = []
    for prompt, subject in facts:
        asked = read_prompt(model, prompt, subject)
        ids += asked.ids[asked.start : asked.stop]
    if not ids:
        raise PromptError(
            "the fact set is empty; statistics of its subjects need at least one fact"
        )
    embedded = model.embedding[torch.tensor(ids, device=model.device)].detach().float()
    return SubjectStatistics(embedded.mean(0), float(embedded.std(correction=0)))


def statistics_of(
    model: LanguageModel, facts: Sequence[tuple[str, str]] | SubjectStatistics | None
) -> SubjectStatistics | None:
    """The statistics of a fact set, if they are not given as such."""
    if facts is None or isinstance(facts, SubjectStatistics):
        return facts
    return subject_statistics(model, facts)


@dataclass(frozen=True, eq=False)
class Corrupted:
    """The corrupted rows of one prompt.

    prompts:  token ids of each row
    partners: (rows, T), the position in each row that stands for each position of the clean prompt, or -1
    edit:     made in these rows, numbered from 0; None where the tokens themselves differ
    """

    prompts: list[list[int]]
    partners: np.ndarray
    edit: Edit | None = None

    def edit_from(self, row: int) -> list[Edit]:
        """The edit where the rows are those from `row` on of a larger run."""
        rows = range(row, row + len(self.prompts))
        return [] if self.edit is None else [replace(self.edit, rows=rows)]


def corrupt(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    asked: SubjectPrompt,
    config: TracingConfig,
    statistics: SubjectStatistics | None,
) -> Corrupted:
    """The corrupted rows that the configuration asks for; the statistics of a fact set scale noise and give the mean."""
    if config.corruption == "swap":
        return _swapped(model, prompt, asked, config)
    noisy = config.corruption == "noise"
    edit = (_noise if noisy else _mean)(model, asked, config, statistics)
    rows = config.samples if noisy else 1
    partners = np.tile(np.arange(len(asked.ids)), (rows, 1))
    return Corrupted([asked.ids] * rows, partners, edit)


def _noise(
    model: LanguageModel,
    asked: SubjectPrompt,
    config: TracingConfig,
    statistics: SubjectStatistics | None,
) -> Edit:
    """Gaussian noise on the subject's embeddings, one row per sample."""
    positions = range(asked.start, asked.stop)
    ids = torch.tensor(asked.ids[asked.start : asked.stop], device=model.device)
    subject = model.embedding[ids].detach()
    random = torch.Generator().manual_seed(config.seed)
    drawn = torch.randn(config.samples, *subject.shape, generator=random)
    sigma = subject.float().std(correction=0) if statistics is None else statistics.sigma
    value = config.noise * sigma * drawn.to(subject.device)
    return Edit(site="embed", op="add", positions=positions, value=value)


def _mean(
    model: LanguageModel,
    asked: SubjectPrompt,
    config: TracingConfig,
    statistics: SubjectStatistics | None,
) -> Edit:
    """One mean embedding on every subject token."""
    if config.reference is not None:
        ids = to_ids(config.reference, model.tokenizer, model.config.vocab_size)[0]
        mean = model.embedding[torch.tensor(ids, device=model.device)].detach().float().mean(0)
    elif statistics is not None:
        mean = statistics.mean
    else:
        raise ConfigError(
            "corruption 'mean' needs a fact set (facts) or a reference text (reference)"
        )
    return Edit(site="embed", positions=range(asked.start, asked.stop), value=mean)


def _swapped(
    model: LanguageModel,
    prompt: str | Sequence[int] | Tensor,
    asked: SubjectPrompt,
    config: TracingConfig,
) -> Corrupted:
    """The prompt with each of the other subjects."""
    if not config.swap:
        raise ConfigError("corruption 'swap' and the subjects to swap in (swap) go together")
    if not isinstance(prompt, str):
        raise PromptError("corruption 'swap' needs the prompt as a text")
    rows = [_with_subject(model, prompt, asked, other) for other in config.swap]
    _check_keys(model, asked, rows, (*config.sites, *config.sever))
    partners = np.stack([_partners(asked, row) for row in rows])
    return Corrupted([row.ids for row in rows], partners)


def _check_keys(
    model: LanguageModel, asked: SubjectPrompt, rows: Sequence[SubjectPrompt], sites: Sequence[str]
) -> None:
    """PromptError where a site with one entry per earlier position would lie over other positions."""
    by_key = [name for name in sites if name in model.sites and None in model.sites[name].shape]
    other = next((row for row in rows if len(row.ids) != len(asked.ids)), None)
    if by_key and other is not None:
        raise PromptError(
            f"site {by_key[0]!r} has one entry for each earlier token, so a swapped subject must have as many tokens "
            f"as the prompt's own, {asked.stop - asked.start}, not {other.stop - other.start}"
        )


def _with_subject(
    model: LanguageModel, prompt: str, asked: SubjectPrompt, other: str
) -> SubjectPrompt:
    spans = model.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    begin, end = spans[asked.start][0], spans[asked.stop - 1][1]
    space = " " if prompt[begin:end].startswith(" ") else ""
    changed = prompt[:begin] + space + other.strip() + prompt[end:]
    found = read_prompt(model, changed, other)
    if found.ids[found.stop :] != asked.ids[asked.stop :] or found.start != asked.start:
        raise PromptError(
            f"with {other!r} as subject the tokens around it change, so the two prompts have no common positions; "
            "take another subject"
        )
    return found


def _partners(asked: SubjectPrompt, other: SubjectPrompt) -> np.ndarray:
    """For each position of the asked prompt, the one of the other prompt; -1 for a subject token without a partner."""
    shift = other.stop - asked.stop
    positions = np.arange(len(asked.ids))
    moved = np.where(positions < asked.start, positions, positions + shift)
    return np.where((positions >= asked.start) & (moved < other.start), -1, moved)
