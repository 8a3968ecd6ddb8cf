"""`mambascope trace`: where in the model does restoring one site bring the answer back?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from mambascope.cli.prompt_command import PromptCommand
from mambascope.methods.tracing.config import TracingConfig

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class Trace(PromptCommand):
    """Causal trace: corrupt the subject, restore one site at a time, see where the answer comes back (ROME)."""

    method: ClassVar[str] = "trace"
    doing: ClassVar[str] = "tracing cells"

    subject: str
    """The part of the prompt that is corrupted."""
    options: Annotated[TracingConfig, tyro.conf.arg(name="")] = field(default_factory=TracingConfig)

    def _function(self) -> "Callable[..., xr.Dataset]":
        from mambascope.methods.tracing.run import trace

        return trace

    def _report(self) -> ModuleType:
        from mambascope.cli import trace_report

        return trace_report

    def _figures(self, result: "xr.Dataset") -> dict[str, bytes]:
        from mambascope.plots.trace import trace_png
        from mambascope.plots.trace_page import trace_html
        from mambascope.results.schema import by_site

        figures: dict[str, bytes] = {}
        parts = by_site(result)
        for part in parts:
            name = f"trace-{part.attrs['site']}" if len(parts) > 1 else "trace"
            figures |= {f"{name}.png": trace_png(part), f"{name}.html": trace_html(part).encode()}
        return figures
