"""Evaluation on questions: a cell is one score of one question."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import xarray as xr

from mambascope.data.fact_prompt import FactFailure, FactPrompt, QuestionPrompt
from mambascope.data.fact_sets import FactSet
from mambascope.errors import PromptError
from mambascope.results.schema import SCORES
from mambascope.runner.config import EvaluationSweep, SweepConfig
from mambascope.runner.methods.base import MIB, SweepMethod
from mambascope.runner.methods.places import places
from mambascope.runner.tables import FAILED, SKIPPED
from mambascope.runner.units import TAKEN, Unit

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel


class EvaluateMethod(SweepMethod):
    """`evaluate_many` over prompts and questions."""

    name: ClassVar[str] = "evaluate"
    done: ClassVar[str] = "answered"
    doing: ClassVar[str] = "answering"
    noun: ClassVar[str] = "questions"
    option: ClassVar[str] = "evaluation"
    cells: ClassVar[pa.Schema] = pa.schema(
        {"fact_id": pa.string(), "score": pa.string(), "value": pa.float64()}
    )
    known: ClassVar[Mapping[str, pa.DataType]] = {
        **dict.fromkeys(("category", "dataset", "prompt"), pa.string()),
        "answers": pa.list_(pa.string()),
    }
    labels: ClassVar[tuple[str, ...]] = ("category", "dataset", "prompt")
    by_fact: ClassVar[Mapping[str, pa.DataType]] = {
        "prediction": pa.string(),
        "continuation": pa.string(),
        "rank": pa.int64(),
        **dict.fromkeys(SCORES, pa.float64()),
    }
    shared: ClassVar[tuple[str, ...]] = (
        "model", "weights", "max_new_tokens", "changes", "versions",
    )  # fmt: skip

    def read(self, config: SweepConfig) -> FactSet:
        """See SweepMethod."""
        from mambascope.data.prompts.asked import asked_questions

        own = _own(config)
        return asked_questions(own.prompts, own.questions, own.prompts_file, own.form)

    def identity(self, fact: FactPrompt) -> dict[str, Any]:
        """See SweepMethod."""
        assert isinstance(fact, QuestionPrompt)
        told = {"category": fact.relation or "", "dataset": fact.dataset, "prompt": fact.prompt}
        return {"fact_id": fact.fact_id, **told, "answers": list(fact.answers)}

    def ask(
        self,
        model: "LanguageModel",
        facts: Sequence[FactPrompt],
        config: SweepConfig,
        others: "Mapping[str, LanguageModel]",
    ) -> list[dict[str, Any]]:
        """How long each prompt is; a question without an accepted answer is skipped."""
        return [_asked(model, fact) for fact in facts]

    def check(self, model: "LanguageModel", config: SweepConfig) -> None:
        """See SweepMethod."""
        from mambascope.models.decoding import lasting

        lasting(model, _own(config).evaluation.changes.made()[0])

    def run(
        self, model: "LanguageModel", unit: Unit, config: SweepConfig
    ) -> "Sequence[xr.Dataset | FactFailure]":
        """See SweepMethod."""
        from mambascope.methods.evaluation.many import evaluate_many

        questions = [fact for fact in unit.facts if isinstance(fact, QuestionPrompt)]
        own = _own(config).evaluation
        found = evaluate_many(model, questions, own, memory=config.memory * MIB)
        return [each if isinstance(each, FactFailure) else _with_scores(each) for each in found]

    def length(self, result: xr.Dataset) -> int:
        """See SweepMethod."""
        return result.attrs["length"]

    def table(self, result: xr.Dataset) -> pa.Table:
        """See SweepMethod."""
        columns = {
            "fact_id": [result.attrs["fact_id"]] * len(SCORES),
            "score": list(SCORES),
            "value": result["value"].values,
        }
        return pa.table(columns, schema=self.cells)

    def axes(self, result: xr.Dataset) -> dict[str, Any]:
        """The scores."""
        return {"scores": result["score"].values.tolist()}

    def labelled(
        self, facts: list[dict[str, Any]], cells: Iterable[pa.Table], shared: dict[str, Any]
    ) -> xr.Dataset:
        """Dims (fact_id, score)."""
        ids, names = [row["fact_id"] for row in facts], shared["scores"]
        value = np.full((len(ids), len(names)), np.nan)
        for part in cells:
            value[places(part, {"fact_id": ids, "score": names})] = part["value"].to_numpy()
        return xr.Dataset({"value": (("fact_id", "score"), value)}, {"score": names})


def _own(config: SweepConfig) -> EvaluationSweep:
    assert isinstance(config, EvaluationSweep)
    return config


def _with_scores(result: xr.Dataset) -> xr.Dataset:
    """With the scores as attributes too: columns of the table that has one row per question."""
    values = result["value"].values.tolist()
    return result.assign_attrs(dict(zip(SCORES, values, strict=True)))


def _asked(model: "LanguageModel", question: FactPrompt) -> dict[str, Any]:
    from mambascope.models.prompts import to_ids

    assert isinstance(question, QuestionPrompt)
    row = {"fact_id": question.fact_id, "length": 0, "answer": "", "top_answer": "", "reason": ""}
    try:
        ids = to_ids(question.prompt, model.tokenizer, model.config.vocab_size)[0]
        model.check_length(len(ids))
    except PromptError as error:
        return {**row, "status": FAILED, "reason": str(error)}
    if not question.answers:
        return {**row, "status": SKIPPED, "reason": "no accepted answer is known"}
    return {**row, "status": TAKEN, "length": len(ids)}
