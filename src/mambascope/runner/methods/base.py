"""What the sweep asks of a method. Asking the facts, batches, shards, locks and tables are the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt
from mambascope.data.fact_sets import FactSet, read_facts
from mambascope.runner.config import FactSweep, SweepConfig
from mambascope.runner.shard import Shard
from mambascope.runner.units import Unit

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel

MIB = 2**20
Given = Callable[[Sequence[FactPrompt]], Any]


class SweepMethod(ABC):
    """One method.

    name:    as the command line has it; results are of "sweep.NAME"
    done:    what a fact is that has a result: its status, the stage in which it gets it, and the folder of those shards
    doing:   the same while it goes on
    noun:    what it is done with
    option:  the field of the configuration that holds the method's own options
    cells:   the columns of the table of cells; the first is `fact_id`
    known:   columns of the table of facts that are known before anything is run (see `identity`)
    labels:  those of them that label the facts of the dataset that is opened
    by_fact: attributes of a fact's result that become columns of the table of facts
    shared:  attributes that the results of all facts have in common
    """

    name: ClassVar[str]
    done: ClassVar[str]
    doing: ClassVar[str]
    noun: ClassVar[str] = "facts"
    option: ClassVar[str]
    cells: ClassVar[pa.Schema]
    known: ClassVar[Mapping[str, pa.DataType]] = dict.fromkeys(
        ("relation", "prompt", "subject", "given_answer"), pa.string()
    )
    labels: ClassVar[tuple[str, ...]] = ("prompt", "subject", "relation")
    by_fact: ClassVar[Mapping[str, pa.DataType]]
    shared: ClassVar[tuple[str, ...]]

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of a sweep, in order; each has a folder of its shards."""
        return ("asked", "measured", self.done)

    @property
    def produces(self) -> str:
        """The method that results name as theirs."""
        return f"sweep.{self.name}"

    def read(self, config: SweepConfig) -> FactSet:
        """What the sweep is over; by default the facts that the configuration names."""
        assert isinstance(config, FactSweep)
        return read_facts(config.facts)

    def identity(self, fact: FactPrompt) -> dict[str, Any]:
        """The id of a fact, and its columns of `known`."""
        return {
            "fact_id": fact.fact_id,
            "relation": fact.relation or "",
            "prompt": fact.prompt,
            "subject": fact.subject,
            "given_answer": fact.answer,
        }

    def ask(
        self,
        model: "LanguageModel",
        facts: Sequence[FactPrompt],
        config: SweepConfig,
        others: "Mapping[str, LanguageModel]",
    ) -> list[dict[str, Any]]:
        """What is found out about each fact before it is done; see asking.py."""
        from mambascope.runner.asking import ask

        assert isinstance(config, FactSweep)
        return ask(model, facts, config.ranks, others)

    @abstractmethod
    def check(self, model: "LanguageModel", config: SweepConfig) -> None:
        """Raises what would be wrong with every fact."""

    def measured(self, facts: Sequence[FactPrompt], config: SweepConfig) -> Sequence[FactPrompt]:
        """The facts over which something has to be measured before any is done; none by default."""
        return ()

    def measure(
        self, model: "LanguageModel", facts: Sequence[FactPrompt]
    ) -> tuple[pa.Table, dict[str, Any]]:
        """What is measured over these facts: a table, and what is told beside it."""
        raise AssertionError(f"{self.name} measures nothing")

    def given(
        self, facts: Sequence[FactPrompt], config: SweepConfig, measured: Sequence[Shard]
    ) -> Given:
        """What each batch is told beside its facts; nothing by default."""
        return lambda batch: None

    @abstractmethod
    def run(
        self, model: "LanguageModel", unit: Unit, config: SweepConfig
    ) -> "Sequence[xr.Dataset | FactFailure]":
        """One result for each fact of a batch, within the memory of the configuration."""

    @abstractmethod
    def length(self, result: xr.Dataset) -> int:
        """How many tokens the prompt of a fact's result has."""

    @abstractmethod
    def table(self, result: xr.Dataset) -> pa.Table:
        """The cells of one fact's result."""

    @abstractmethod
    def axes(self, result: xr.Dataset) -> dict[str, Any]:
        """What the results of all facts have in common beside `shared`: the labels of their dims."""

    @abstractmethod
    def labelled(
        self, facts: list[dict[str, Any]], cells: Iterable[pa.Table], shared: dict[str, Any]
    ) -> xr.Dataset:
        """The dataset of these facts (rows of their table) from the cells; dim `fact_id` first, without attributes."""
