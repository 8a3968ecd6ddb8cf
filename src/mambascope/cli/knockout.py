"""`mambascope knockout`: does the answer fall when the target no longer reads from the source, window by window of layers?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from mambascope.cli.prompt_command import PromptCommand
from mambascope.methods.knockout.config import KnockoutConfig

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class Knockout(PromptCommand):
    """Knockout: cut what a token reads from others, in a window of layers at a time, and see where the answer falls."""

    method: ClassVar[str] = "knockout"
    doing: ClassVar[str] = "cutting"

    subject: str
    """The part of the prompt that roles such as subject and context are about."""
    options: Annotated[KnockoutConfig, tyro.conf.arg(name="")] = field(
        default_factory=KnockoutConfig
    )

    def _function(self) -> "Callable[..., xr.Dataset]":
        from mambascope.methods.knockout.run import knockout

        return knockout

    def _report(self) -> ModuleType:
        from mambascope.cli import knockout_report

        return knockout_report

    def _figures(self, result: "xr.Dataset") -> dict[str, bytes]:
        from mambascope.plots.knockout import knockout_png
        from mambascope.plots.knockout_page import knockout_html

        return {
            "knockout.png": knockout_png(result),
            "knockout.html": knockout_html(result).encode(),
        }
