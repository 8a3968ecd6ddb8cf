"""`mambascope evaluate`: what a model can recall, chain and hold in mind; beside another model, or itself under edits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mambascope.errors import ConfigError
from mambascope.runner.config import EvaluationSweep

COMPARED = "compared"  # the folder of the second evaluation, inside that of the first


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Ask a model questions with known answers; started again after an interruption it goes on where it was."""

    sweep: Annotated[EvaluationSweep, tyro.conf.arg(name="")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the results; an evaluation that was interrupted there goes on."""
    compare: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Another model, which is asked the same; differences are tested question by question."""
    edits: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Edits and cuts in JSON; the same model is asked again under them, and the differences are tested."""
    executor: Literal["local", "ray"] = "local"
    """Processes of this machine, or Ray (extra `ray`); the results are the same."""
    workers: int | None = None
    """How many batches are done at the same time; by default 1, or on a cluster one for each of its CPUs."""
    address: str | None = None
    """Of a Ray cluster, such as ray://host:10001 or auto; by default Ray is started on this machine."""
    json: bool = False
    """Print one JSON object on stdout, and nothing else there."""

    def run(self) -> None:
        """Evaluate, compare, and say what came out."""
        from mambascope.cli import evaluation_report
        from mambascope.runner.opening import open_results
        from mambascope.runner.steady import linear_choice
        from mambascope.runner.sweep import sweep
        from mambascope.runner.worker import Worker

        asked = self._asked()
        # What is wrong with the second is said before the first has worked; a cluster's models need not be here.
        for compared in asked[1:] if self.executor == "local" else []:
            Worker(compared, linear_choice()).check()
        folders = [
            sweep(
                config, folder, executor=self.executor, workers=self.workers, address=self.address
            )
            for config, folder in zip(asked, (self.out, self.out / COMPARED), strict=False)
        ]
        report = evaluation_report.Report([open_results(folder) for folder in folders])
        files = report.write(self.out)
        if self.json:
            print(report.json(files))
            return
        report.print()
        for path in files:
            print(f"wrote {path}")

    def _asked(self) -> list[EvaluationSweep]:
        """One evaluation, or the two that are compared."""
        from mambascope.methods.evaluation.changes import read_changes

        if self.compare is not None and self.edits is not None:
            raise ConfigError(
                "--compare and --edits both name what to compare with; give one of the two"
            )
        if self.compare is not None:
            other = self.sweep.model_copy(update={"model": self.compare, "tokenizer": None})
            return [self.sweep, other]
        if self.edits is not None:
            changes = read_changes(self.edits)
            own = self.sweep.evaluation.model_copy(update={"changes": changes})
            return [self.sweep, self.sweep.model_copy(update={"evaluation": own})]
        return [self.sweep]
