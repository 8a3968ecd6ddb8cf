"""`mambascope sweep`: one method over a whole fact set, gone on with by the same command after any interruption."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mambascope.runner.config import KnockoutSweep, LedgerSweep, SweepConfig, TraceSweep


@dataclass(frozen=True, kw_only=True)
class SweepCommand:
    """What the sweeps of all methods have on the command line."""

    sweep: SweepConfig
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the results; a sweep that was interrupted there goes on."""
    executor: Literal["local", "ray"] = "local"
    """Processes of this machine, or Ray (extra `ray`); the results are the same."""
    workers: int | None = None
    """How many batches are done at the same time; by default 1, or on a cluster one for each of its CPUs."""
    address: str | None = None
    """Of a Ray cluster, such as ray://host:10001 or auto; by default Ray is started on this machine."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Run the sweep, and say what came out."""
        from mambascope.runner.folder import SweepFolder
        from mambascope.runner.opening import fact_rows
        from mambascope.runner.result import count
        from mambascope.runner.sweep import sweep

        folder = sweep(
            self.sweep,
            self.out,
            executor=self.executor,
            workers=self.workers,
            address=self.address,
        )
        opened = SweepFolder(folder)
        counts = count(fact_rows(opened), opened.method.done)
        if self.json:
            print(json.dumps({"out": str(folder), **counts}))
            return
        print(", ".join(f"{number} {status}" for status, number in counts.items()))
        print(f"wrote {folder}; see it with: mambascope show {folder}")


@dataclass(frozen=True, kw_only=True)
class SweepTrace(SweepCommand):
    """Trace every fact of a set; started again after an interruption it goes on where it was."""

    sweep: Annotated[TraceSweep, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class SweepKnockout(SweepCommand):
    """Cut edges in every fact of a set; started again after an interruption it goes on where it was."""

    sweep: Annotated[KnockoutSweep, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class SweepLedger(SweepCommand):
    """The route ledger of every fact of a set; started again after an interruption it goes on where it was."""

    sweep: Annotated[LedgerSweep, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Sweep:
    """One method over a whole fact set; started again after an interruption it goes on where it was."""

    method: Annotated[
        Annotated[SweepTrace, tyro.conf.subcommand("trace")]
        | Annotated[SweepKnockout, tyro.conf.subcommand("knockout")]
        | Annotated[SweepLedger, tyro.conf.subcommand("ledger")],
        tyro.conf.arg(name=""),
    ]
    """What is done with each fact."""

    def run(self) -> None:
        """Run the sweep, and say what came out."""
        self.method.run()
