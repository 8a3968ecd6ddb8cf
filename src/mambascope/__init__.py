"""Mambascope: where does a Mamba store a fact, and by which route does it travel?

    import mambascope as ms
    model = ms.load("atlas-mamba1")
    ms.trace(model, "The capital of France is", subject="France")

Names are imported when first used, so that `import mambascope` and `mambascope --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mambascope.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        MambascopeError,
        ModelError,
        OutputError,
        PromptError,
        SiteError,
    )
    from mambascope.methods.attention.memory import half_life_spectrum, retention
    from mambascope.methods.attention.run import effective_attention
    from mambascope.methods.knockout.run import knockout
    from mambascope.methods.ledger.run import ledger
    from mambascope.methods.tracing.attribution import attribute
    from mambascope.methods.tracing.run import trace
    from mambascope.models.language_model import LanguageModel
    from mambascope.models.load import load
    from mambascope.runner.opening import open_results
    from mambascope.sites import Cut, Edit, Site

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "ConfigError",
    "Cut",
    "DataError",
    "Edit",
    "LanguageModel",
    "MambascopeError",
    "ModelError",
    "OutputError",
    "PromptError",
    "Site",
    "SiteError",
    "__version__",
    "attribute",
    "effective_attention",
    "half_life_spectrum",
    "knockout",
    "ledger",
    "load",
    "open_results",
    "retention",
    "trace",
]

_HOMES = {
    "Cut": "sites",
    "Edit": "sites",
    "LanguageModel": "models.language_model",
    "Site": "sites",
    "attribute": "methods.tracing.attribution",
    "effective_attention": "methods.attention.run",
    "half_life_spectrum": "methods.attention.memory",
    "knockout": "methods.knockout.run",
    "ledger": "methods.ledger.run",
    "load": "models.load",
    "open_results": "runner.opening",
    "retention": "methods.attention.memory",
    "trace": "methods.tracing.run",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mambascope' has no attribute {name!r}")
    found = getattr(import_module(f"mambascope.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
