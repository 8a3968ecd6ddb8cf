"""`mambascope ledger`: by which route through each layer does what the last token knows of a source reach the answer?"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mambascope.methods.ledger.config import LedgerConfig

if TYPE_CHECKING:
    import xarray as xr

METHOD = "ledger"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Route ledger of a Mamba: how much of the answer goes by state, convolution, gate, skip and query of each layer."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """A text that the model should continue, such as "The capital of France is"."""
    subject: str
    """The part of the prompt that sources such as subject_last and before are about."""
    answer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """What the model should say; by default its own top token."""
    model: str = "atlas-mamba1"
    """A bundled model, a folder, a GGUF file or a Hugging Face hub id (see `mambascope models`)."""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """In place of the model's own, for one that comes without: a folder, a tokenizer.json, a bundled model or a hub id."""
    options: Annotated[LedgerConfig, tyro.conf.arg(name="")] = field(default_factory=LedgerConfig)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder for the figures (PNG and HTML), the table and its manifest."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Compute the ledger, print what was found, and write the files."""
        from mambascope.cli import ledger_report
        from mambascope.results.folder import check_folder

        if self.out is not None:
            check_folder(self.out, METHOD)
        result = self._ledger()
        if self.answer is not None and result.attrs["answer"] != result.attrs["top_answer"]:
            print(ledger_report.other_answer(result), file=sys.stderr)
        if self.json:
            print(ledger_report.as_json(result, self._save(result)))
            return
        ledger_report.print_summary(result)
        for path in self._save(result):
            print(f"wrote {path}")

    def _ledger(self) -> "xr.Dataset":
        from mambascope.progress import ProgressBar

        with ProgressBar(f"loading {self.model}") as bar:
            from mambascope.methods.ledger.run import ledger
            from mambascope.models.load import load

            return ledger(
                load(self.model, self.device, self.dtype, self.tokenizer),
                self.prompt,
                subject=self.subject,
                answer=self.answer,
                progress=bar.follow("replaying"),
                **self.options.model_dump(),
            )

    def _save(self, result: "xr.Dataset") -> list[Path]:
        if self.out is None:
            return []
        from mambascope.plots.ledger import ledger_png
        from mambascope.plots.ledger_page import ledger_html
        from mambascope.results.store import save

        figures = {
            "ledger.png": ledger_png(result),
            "ledger-shapley.png": ledger_png(result, form="shapley"),
            "ledger.html": ledger_html(result).encode(),
        }
        return save(result, self.out, figures)
