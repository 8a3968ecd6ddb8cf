"""`mambascope trace`: where in the model does restoring one site bring the answer back?"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mambascope.methods.tracing.config import TracingConfig

if TYPE_CHECKING:
    import xarray as xr

METHOD = "trace"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Causal trace: corrupt the subject, restore one site at a time, see where the answer comes back (ROME)."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """A text that the model should continue, such as "The capital of France is"."""
    subject: str
    """The part of the prompt that is corrupted."""
    answer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """What the model should say; by default its own top token."""
    model: str = "atlas-mamba1"
    """A bundled model, a folder, a GGUF file or a Hugging Face hub id (see `mambascope models`)."""
    tokenizer: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """In place of the model's own, for one that comes without: a folder, a tokenizer.json, a bundled model or a hub id."""
    options: Annotated[TracingConfig, tyro.conf.arg(name="")] = field(default_factory=TracingConfig)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A folder for the heatmap (PNG and HTML), the table and its manifest."""
    device: str = "cpu"
    """"cpu", "cuda" or "cuda:1"."""
    dtype: str = "float32"
    """"float32", "float64", "bfloat16" or "float16"."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Trace, print what was found, and write the files."""
        from mambascope.cli import trace_report
        from mambascope.results.folder import check_folder

        if self.out is not None:
            check_folder(self.out, METHOD)
        result = self._trace()
        if self.answer is not None and result.attrs["answer"] != result.attrs["top_answer"]:
            print(trace_report.other_answer(result), file=sys.stderr)
        if self.json:
            print(trace_report.as_json(result, self._save(result)))
            return
        trace_report.print_summary(result)
        for path in self._save(result):
            print(f"wrote {path}")

    def _trace(self) -> "xr.Dataset":
        from mambascope.progress import ProgressBar

        with ProgressBar(f"loading {self.model}") as bar:
            from mambascope.methods.tracing.run import trace
            from mambascope.models.load import load

            return trace(
                load(self.model, self.device, self.dtype, self.tokenizer),
                self.prompt,
                subject=self.subject,
                answer=self.answer,
                progress=bar.follow("tracing cells"),
                **self.options.model_dump(),
            )

    def _save(self, result: "xr.Dataset") -> list[Path]:
        if self.out is None:
            return []
        from mambascope.plots.trace import trace_png
        from mambascope.plots.trace_page import trace_html
        from mambascope.results.schema import by_site
        from mambascope.results.store import save

        figures: dict[str, bytes] = {}
        parts = by_site(result)
        for part in parts:
            name = f"trace-{part.attrs['site']}" if len(parts) > 1 else "trace"
            figures |= {f"{name}.png": trace_png(part), f"{name}.html": trace_html(part).encode()}
        return save(result, self.out, figures)
