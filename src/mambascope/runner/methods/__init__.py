"""The methods that can be swept over facts, one file each: what differs between them, so that the machinery does not."""

from importlib import import_module

from mambascope.errors import OutputError
from mambascope.runner.methods.base import SweepMethod

HOMES = {
    "trace": ("tracing", "TraceMethod"),
    "knockout": ("knockout", "KnockoutMethod"),
    "ledger": ("ledger", "LedgerMethod"),
    "evaluate": ("evaluation", "EvaluateMethod"),
}


def method_of(name: str) -> SweepMethod:
    """The method of this name, or of results that call themselves "sweep.NAME"; OutputError if there is none."""
    found = HOMES.get(name.removeprefix("sweep."))
    if found is None:
        raise OutputError(f"{name!r} is no method that can be swept; these are: {', '.join(HOMES)}")
    module, made = found
    return getattr(import_module(f"mambascope.runner.methods.{module}"), made)()
