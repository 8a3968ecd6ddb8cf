"""`mambascope knockout`: does the answer fall when the target no longer reads from the source, window by window of layers?"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mambascope.methods.knockout.config import KnockoutConfig

if TYPE_CHECKING:
    import xarray as xr

METHOD = "knockout"


@dataclass(frozen=True, kw_only=True)
class Knockout:
    """Knockout: cut what a token reads from others, in a window of layers at a time, and see where the answer falls."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """A text that the model should continue, such as "The capital of France is"."""
    subject: str
    """The part of the prompt that roles such as subject and context are about."""
    answer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """What the model should say; by default its own top token."""
    model: str = "atlas-mamba1"
    """A bundled model, a folder, a GGUF file or a Hugging Face hub id (see `mambascope models`)."""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """In place of the model's own, for one that comes without: a folder, a tokenizer.json, a bundled model or a hub id."""
    options: Annotated[KnockoutConfig, tyro.conf.arg(name="")] = field(
        default_factory=KnockoutConfig
    )
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder for the figure (PNG and HTML), the table and its manifest."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Cut, print what was found, and write the files."""
        from mambascope.cli import knockout_report, trace_report
        from mambascope.results.folder import check_folder

        if self.out is not None:
            check_folder(self.out, METHOD)
        result = self._cut()
        if self.answer is not None and result.attrs["answer"] != result.attrs["top_answer"]:
            print(trace_report.other_answer(result), file=sys.stderr)
        if self.json:
            print(knockout_report.as_json(result, self._save(result)))
            return
        knockout_report.print_summary(result)
        for path in self._save(result):
            print(f"wrote {path}")

    def _cut(self) -> "xr.Dataset":
        from mambascope.progress import ProgressBar

        with ProgressBar(f"loading {self.model}") as bar:
            from mambascope.methods.knockout.run import knockout
            from mambascope.models.load import load

            return knockout(
                load(self.model, self.device, self.dtype, self.tokenizer),
                self.prompt,
                subject=self.subject,
                answer=self.answer,
                progress=bar.follow("cutting"),
                **self.options.model_dump(),
            )

    def _save(self, result: "xr.Dataset") -> list[Path]:
        if self.out is None:
            return []
        from mambascope.plots.knockout import knockout_png
        from mambascope.plots.knockout_page import knockout_html
        from mambascope.results.store import save

        figures = {
            "knockout.png": knockout_png(result),
            "knockout.html": knockout_html(result).encode(),
        }
        return save(result, self.out, figures)
