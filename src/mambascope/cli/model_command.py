"""What the commands that put one question to one model share: which model, how it is loaded, and where the result goes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class ModelCommand:
    """The options of one model and one result."""

    model: str = "atlas-mamba1"
    """A bundled model, a folder, a GGUF file or a Hugging Face hub id (see `mambascope models`)."""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """In place of the model's own, for one that comes without: a folder, a tokenizer.json, a bundled model or a hub id."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder for the figures (PNG and HTML), the table and its manifest."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def _load(self) -> "LanguageModel":
        from mambascope.models.load import load

        return load(self.model, self.device, self.dtype, self.tokenizer)
