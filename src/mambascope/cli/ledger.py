"""`mambascope ledger`: by which route through each layer does what the last token knows of a source reach the answer?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from mambascope.cli.prompt_command import PromptCommand
from mambascope.methods.ledger.config import LedgerConfig

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class Ledger(PromptCommand):
    """Route ledger of a Mamba: how much of the answer goes by state, convolution, gate, skip and query of each layer."""

    method: ClassVar[str] = "ledger"
    doing: ClassVar[str] = "replaying"

    subject: str
    """The part of the prompt that sources such as subject_last and before are about."""
    options: Annotated[LedgerConfig, tyro.conf.arg(name="")] = field(default_factory=LedgerConfig)

    def _function(self) -> "Callable[..., xr.Dataset]":
        from mambascope.methods.ledger.run import ledger

        return ledger

    def _report(self) -> ModuleType:
        from mambascope.cli import ledger_report

        return ledger_report

    def _figures(self, result: "xr.Dataset") -> dict[str, bytes]:
        from mambascope.plots.ledger import ledger_png
        from mambascope.plots.ledger_page import ledger_html

        return {
            "ledger.png": ledger_png(result),
            "ledger-shapley.png": ledger_png(result, form="shapley"),
            "ledger.html": ledger_html(result).encode(),
        }
