"""What a trace is asked: a prompt with its subject, its corrupted rows, and the token whose probability is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mambascope.interventions.prompt import SubjectPrompt, answer_token, read_prompt
from mambascope.methods.tracing.config import TracingConfig
from mambascope.methods.tracing.corruption import Corrupted, SubjectStatistics, corrupt
from mambascope.models.language_model import LanguageModel

Prompt = str | Sequence[int] | Tensor


@dataclass(frozen=True, eq=False)
class Question:
    """One prompt to be traced.

    config: its own, with its own swapped subjects
    target: the answer's token id; None for the model's own top token
    """

    prompt: Prompt
    asked: SubjectPrompt
    config: TracingConfig
    corrupted: Corrupted
    target: int | None

    @property
    def cells(self) -> int:
        """Positions to be exchanged: those before the subject are the same in both runs."""
        return len(self.asked.ids) - self.asked.start


def ask(
    model: LanguageModel,
    prompt: Prompt,
    subject: str | slice,
    answer: str | int | None,
    config: TracingConfig,
    statistics: SubjectStatistics | None,
) -> Question:
    """Everything about one prompt that needs no forward pass.

    Raises PromptError if subject, answer or a swapped subject do not fit the prompt, or a prompt the model.
    """
    asked = read_prompt(model, prompt, subject)
    model.check_length(len(asked.ids))
    corrupted = corrupt(model, prompt, asked, config, statistics)
    model.check_length(max(map(len, corrupted.prompts)))
    target = None if answer is None else answer_token(model, prompt, answer, asked.ids)
    return Question(prompt, asked, config, corrupted, target)
