"""What is found out about a fact before it is traced: whether it can be, how long it is, and whether the model knows it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.errors import MambascopeError
from mambascope.interventions.prompt import answer_token, read_prompt, token_texts
from mambascope.runner.units import TAKEN

if TYPE_CHECKING:
    from torch import Tensor

    from mambascope.models.language_model import LanguageModel


def ask(
    model: "LanguageModel",
    facts: Sequence[FactPrompt],
    ranks: range | None = None,
    others: "Mapping[str, LanguageModel] | None" = None,
) -> list[dict[str, Any]]:
    """One record per fact (tables.ASKED): status "taken", "failed" or "skipped", and the reason of the latter two.

    ranks:  those that the answer's first token may have, 1 being the top; None does not ask for any
    others: by name, models for which it must have such a rank too
    """
    read = [_read(model, fact) for fact in facts]
    if ranks is not None:
        _judge(model, read, ranks)
        for name, other in (others or {}).items():
            _judge_too(name, other, facts, read, ranks)
    return [{name: row[name] for name in row if name not in ("ids", "target")} for row in read]


def _read(model: "LanguageModel", fact: FactPrompt) -> dict[str, Any]:
    """The fact's prompt, and the token that counts as its answer (None: the model's own)."""
    row = {"fact_id": fact.fact_id, "length": 0, "answer": "", "top_answer": "", "reason": ""}
    try:
        asked = read_prompt(model, fact.prompt, fact.subject)
        target = None
        if fact.answer is not None:
            target = answer_token(model, fact.prompt, fact.answer, asked.ids)
    except MambascopeError as error:
        return {**row, "status": "failed", "reason": str(error)}
    answer = "" if target is None else token_texts(model, [target])[0]
    read = {"length": len(asked.ids), "answer": answer, "status": TAKEN}
    return {**row, **read, "ids": asked.ids, "target": target}


def _judge(model: "LanguageModel", rows: list[dict[str, Any]], ranks: range) -> None:
    """Skip the taken facts whose answer has another rank; one without an answer of its own has rank 1."""
    asked = [row for row in rows if row["status"] == TAKEN]
    for row, logits in zip(asked, _logits(model, [row["ids"] for row in asked]), strict=True):
        if isinstance(logits, MambascopeError):
            row |= {"status": "failed", "reason": str(logits)}
            continue
        top = int(logits.argmax())
        said = row["top_answer"] = token_texts(model, [top])[0]
        target = top if row["target"] is None else row["target"]
        rank = 1 + int((logits > logits[target]).sum())
        if rank not in ranks:
            wanted = token_texts(model, [target])[0]
            row |= {"status": "skipped", "reason": _other_rank(said, wanted, rank, ranks)}


def _judge_too(
    name: str,
    model: "LanguageModel",
    facts: Sequence[FactPrompt],
    rows: list[dict[str, Any]],
    ranks: range,
) -> None:
    """Skip the taken facts whose answer has another rank for another model, with a tokenizer of its own.

    The answer is the fact set's, or what the first model says.
    """
    chosen = [(fact, row) for fact, row in zip(facts, rows, strict=True) if row["status"] == TAKEN]
    own = [
        _read(model, replace(fact, answer=fact.answer or row["top_answer"])) for fact, row in chosen
    ]
    _judge(model, own, ranks)
    for (_, row), theirs in zip(chosen, own, strict=True):
        if theirs["status"] != TAKEN:
            row |= {"status": "skipped", "reason": f"{name}: {theirs['reason']}"}


def _logits(
    model: "LanguageModel", prompts: list[list[int]]
) -> "Sequence[Tensor | MambascopeError]":
    """Each prompt's last logits (V,); where a prompt cannot be run, its error."""
    if not prompts:
        return []
    try:
        logits = model.run(prompts, logits="last").logits
        assert logits is not None
        return list(logits)
    except MambascopeError as error:
        if len(prompts) == 1:
            return [error]
        return [found for prompt in prompts for found in _logits(model, [prompt])]


def _other_rank(said: str, wanted: str, rank: int, ranks: range) -> str:
    if ranks == range(1, 2):
        return f"the model answers {said!r}, not {wanted!r}"
    return f"{wanted!r} has rank {rank} for the model, not {ranks[0]} to {ranks[-1]}"
