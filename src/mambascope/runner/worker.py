"""What a worker does, in whatever process it is: load the model once, then turn units into the contents of their shards."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from mambascope.runner.config import SweepConfig
from mambascope.runner.shard import encode
from mambascope.runner.steady import steady
from mambascope.runner.units import ASKED, MEASURED, Done, Unit

if TYPE_CHECKING:
    import pyarrow as pa

    from mambascope.models.language_model import LanguageModel
    from mambascope.runner.methods import SweepMethod


class Worker:
    """One model, ready to do units. `linear`: whose matrix products (see steady.py)."""

    def __init__(self, config: SweepConfig, linear: str) -> None:
        self.config, self.linear = config, linear

    @cached_property
    def method(self) -> "SweepMethod":
        """What is done with the facts."""
        from mambascope.runner.methods import method_of

        return method_of(self.config.method)

    def check(self) -> None:
        """Load the model. Raises what would go wrong with every fact before any is asked."""
        _ = self._model

    def run(self, unit: Unit) -> Done:
        """One unit. Raises what would go wrong with every fact; what is wrong with one fact is part of the result."""
        with steady(self.linear):
            do = {ASKED: self._ask, MEASURED: self._measure}.get(unit.stage, self._batch)
            table, told = do(unit)
            told |= {"stage": unit.stage, "fact_ids": unit.fact_ids, "weights": self._weights}
            return Done(unit.number, encode(table, told), self._weights)

    @cached_property
    def _model(self) -> "LanguageModel":
        config = self.config
        model = self._loaded(config.model, config.tokenizer)
        self.method.check(model, config)
        return model

    @cached_property
    def _others(self) -> "dict[str, LanguageModel]":
        """The other models that are asked."""
        return {name: self._loaded(name, None) for name in self.config.others}

    def _loaded(self, source: str, tokenizer: str | None) -> "LanguageModel":
        from mambascope.errors import ConfigError
        from mambascope.models.load import load

        model = load(source, self.config.device, self.config.dtype, tokenizer)
        if model.tokenizer is None:
            raise ConfigError(
                f"{source} has no tokenizer, so texts cannot be asked; name one (tokenizer)"
            )
        return model

    @cached_property
    def _weights(self) -> str:
        from mambascope.models.checkpoints.hash import weights_hash

        return weights_hash(self._model)

    def _ask(self, unit: Unit) -> "tuple[pa.Table, dict[str, Any]]":
        """Length, answer and status of each fact; where ranks count the model's top token too."""
        import pyarrow as pa

        from mambascope.runner.tables import ASKED_COLUMNS

        rows = self.method.ask(self._model, unit.facts, self.config, self._others)
        return pa.Table.from_pylist(rows, schema=ASKED_COLUMNS), {}

    def _measure(self, unit: Unit) -> "tuple[pa.Table, dict[str, Any]]":
        """What the method measures over the fact set."""
        return self.method.measure(self._model, unit.facts)

    def _batch(self, unit: Unit) -> "tuple[pa.Table, dict[str, Any]]":
        """All cells of the batch, and a record of each fact."""
        from mambascope.runner.tables import cells_and_facts

        found = self.method.run(self._model, unit, self.config)
        return cells_and_facts(self.method, unit.facts, found)
