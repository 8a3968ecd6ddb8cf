"""What others measured with the published code of Mamba Knockout (Endy et al. 2025, arXiv 2505.24244), as a file.

published.json holds the test baselines of nirendy/mamba-knockout for mamba-130m and mamba2-130m: 8 prompts, their top tokens,
and the answer's probability under 11 knockouts of the scan, mode zero (there ZERO_ATTENTION), in each window of 15 layers.
`features_kept` names what the published mask keeps: ALL keeps nothing, and so cuts everything; SLOW_DECAY keeps the slowest
third, and so cuts the other two. A source that a prompt lacks is no error there: nothing is cut.
"""

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mambascope.errors import DataError, ModelError
from mambascope.models.language_model import LanguageModel
from mambascope.options import wrong_option

Role = Literal["first", "last", "subject", "relation", "relation_minus_last", "context", "all"]
FEATURES_CUT = {"ALL": "all", "SLOW_DECAY": "not slow", "FAST_DECAY": "not fast"}
"""What a knockout calls what is cut, by what the published mask keeps."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublishedPrompt(_Part):
    """A prompt, and what the model says to it: the answer's probability, and the top tokens with theirs.

    answer: the text of one token, a word with the space before it
    """

    prompt: str
    subject: str
    answer: str = Field(pattern=r"^ \S")
    answer_probability: float
    top5: tuple[tuple[str, float], ...]


class PublishedKnockout(_Part):
    """One setting, and the answer's probability by prompt in each window, which begins at layer 0, 1 and so on."""

    target: Role
    source: Role
    features_kept: Literal["ALL", "SLOW_DECAY", "FAST_DECAY"]
    window: int = Field(ge=1)
    answer_probability_by_window: dict[str, tuple[float, ...]]


class PublishedModel(_Part):
    """All that was measured with one model."""

    prompts: dict[str, PublishedPrompt] = Field(min_length=1)
    knockouts: tuple[PublishedKnockout, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_cells(self) -> "PublishedModel":
        cells = {
            (knockout.window, len(series))
            for knockout in self.knockouts
            for series in knockout.answer_probability_by_window.values()
        }
        if len(cells) != 1 or (0 in next(iter(cells))):
            raise ValueError("all knockouts need the same window, and a number for each start")
        if any(
            k.answer_probability_by_window.keys() != self.prompts.keys() for k in self.knockouts
        ):
            raise ValueError("each knockout needs a series for each prompt and for no other")
        if len({len(prompt.top5) for prompt in self.prompts.values()}) > 1:
            raise ValueError("all prompts need equally many top tokens")
        return self

    @property
    def window(self) -> int:
        """Layers that are cut together."""
        return self.knockouts[0].window

    @property
    def starts(self) -> int:
        """How many windows there are."""
        return len(next(iter(self.knockouts[0].answer_probability_by_window.values())))

    @property
    def n_layers(self) -> int:
        """The depth of the model: the last window ends with its last layer."""
        return self.starts + self.window - 1


class Published(_Part):
    """A whole file: where its numbers are from, and the models, each named for its architecture, such as mamba2-130m."""

    source: str
    models: dict[str, PublishedModel]

    def of(self, model: LanguageModel) -> tuple[str, PublishedModel]:
        """The name and numbers that are for a model of this architecture and depth; ModelError if none or several are."""
        architecture, depth = model.config.architecture, model.config.n_layers
        fitting = [
            (name, numbers)
            for name, numbers in self.models.items()
            if name.startswith(f"{architecture}-") and numbers.n_layers == depth
        ]
        if len(fitting) == 1:
            return fitting[0]
        has = ", ".join(f"{name} ({each.n_layers} layers)" for name, each in self.models.items())
        raise ModelError(
            f"{model.name} is a {architecture} of {depth} layers, for which the reference has {len(fitting)} sets of numbers "
            f"where one is needed; it has: {has or 'none'}"
        )


def read_published(path: Path | None = None) -> Published:
    """The numbers that come with the package, or those of a file of the same layout; DataError if it cannot be read."""
    packaged = files("mambascope.methods.knockout") / "published.json"
    try:
        content = (packaged if path is None else path.expanduser()).read_text(encoding="utf-8")
        return Published.model_validate_json(content)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error}") from error
    except ValidationError as error:
        raise DataError(f"{path} holds no published knockouts: {wrong_option(error)}") from error
