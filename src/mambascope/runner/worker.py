"""What a worker does, in whatever process it is: load the model once, then turn units into the contents of their shards."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mambascope.runner.config import SweepConfig
from mambascope.runner.shard import encode
from mambascope.runner.steady import steady
from mambascope.runner.tables import ASKED_COLUMNS, cells_and_facts
from mambascope.runner.units import Done, Unit

if TYPE_CHECKING:
    import pyarrow as pa

    from mambascope.models.language_model import LanguageModel

MIB = 2**20


class Worker:
    """One model, ready to do units. `linear`: whose matrix products (see steady.py)."""

    def __init__(self, config: SweepConfig, linear: str) -> None:
        self.config, self.linear = config, linear

    def run(self, unit: Unit) -> Done:
        """One unit. Raises what would go wrong with every fact; what is wrong with one fact is part of the result."""
        with steady(self.linear):
            table, told = {"asked": self._ask, "measured": self._measure, "traced": self._trace}[
                unit.stage
            ](unit)
            told |= {"stage": unit.stage, "fact_ids": unit.fact_ids, "weights": self._weights}
            return Done(unit.number, encode(table, told), self._weights)

    @cached_property
    def _model(self) -> "LanguageModel":
        from mambascope.errors import ConfigError
        from mambascope.methods.tracing.worlds import check_sites
        from mambascope.models.load import load

        config = self.config
        model = load(config.model, config.device, config.dtype, config.tokenizer)
        if model.tokenizer is None:
            raise ConfigError(
                f"{config.model} has no tokenizer, so facts, which are texts, cannot be asked; name one (tokenizer)"
            )
        check_sites(model, config.tracing)
        return model

    @cached_property
    def _weights(self) -> str:
        from mambascope.models.checkpoints.hash import weights_hash

        return weights_hash(self._model)

    def _ask(self, unit: Unit) -> "tuple[pa.Table, dict[str, Any]]":
        """Length, answer and status of each fact; with `only_known` the model's top token too."""
        import pyarrow as pa

        from mambascope.runner.asking import ask

        rows = ask(self._model, unit.facts, only_known=self.config.only_known)
        return pa.Table.from_pylist(rows, schema=ASKED_COLUMNS), {}

    def _measure(self, unit: Unit) -> "tuple[pa.Table, dict[str, Any]]":
        """The mean (D,) of the subjects' embeddings, and their sigma."""
        import pyarrow as pa

        from mambascope.methods.tracing.corruption import subject_statistics

        found = subject_statistics(
            self._model, [(fact.prompt, fact.subject) for fact in unit.facts]
        )
        return pa.table({"mean": found.mean.cpu().numpy()}), {"sigma": found.sigma}

    def _trace(self, unit: Unit) -> "tuple[pa.Table, dict[str, Any]]":
        """All cells of the batch, and a record of each fact."""
        from mambascope.methods.tracing.many import trace_many

        found = trace_many(
            self._model,
            unit.facts,
            self.config.tracing,
            statistics=self._statistics(unit),
            swaps=unit.swaps,
            memory=self.config.memory * MIB,
        )
        return cells_and_facts(unit.facts, found)

    def _statistics(self, unit: Unit) -> Any:
        import torch

        from mambascope.methods.tracing.corruption import SubjectStatistics

        if unit.statistics is None:
            return None
        mean, sigma = unit.statistics
        return SubjectStatistics(torch.tensor(mean, device=self._model.device), sigma)
