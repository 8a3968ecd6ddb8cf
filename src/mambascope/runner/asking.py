"""What is found out about a fact before it is traced: whether it can be, how long it is, and whether the model knows it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.errors import MambascopeError
from mambascope.interventions.prompt import answer_token, read_prompt, token_texts
from mambascope.runner.units import TAKEN

if TYPE_CHECKING:
    from mambascope.models.language_model import LanguageModel


def ask(
    model: "LanguageModel", facts: Sequence[FactPrompt], *, only_known: bool
) -> list[dict[str, Any]]:
    """One record per fact (tables.ASKED): status "taken", "failed" or "skipped", and the reason of the latter two."""
    read = [_read(model, fact) for fact in facts]
    if only_known:
        asked = [row for row in read if row["status"] == TAKEN]
        for row, top in zip(asked, _tops(model, [row["ids"] for row in asked]), strict=True):
            row |= _judged(model, row["target"], top)
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


def _tops(model: "LanguageModel", prompts: list[list[int]]) -> "list[int | MambascopeError]":
    """Each prompt's top token; where a prompt cannot be run, its error."""
    if not prompts:
        return []
    try:
        logits = model.run(prompts, logits="last").logits
        assert logits is not None
        return logits.argmax(-1).tolist()
    except MambascopeError as error:
        if len(prompts) == 1:
            return [error]
        return [top for prompt in prompts for top in _tops(model, [prompt])]


def _judged(
    model: "LanguageModel", target: int | None, top: "int | MambascopeError"
) -> dict[str, Any]:
    """What `only_known` makes of a fact; one without an answer of its own is known."""
    if isinstance(top, MambascopeError):
        return {"status": "failed", "reason": str(top)}
    said = token_texts(model, [top])[0]
    if target is None or target == top:
        return {"top_answer": said}
    wanted = token_texts(model, [target])[0]
    reason = f"the model answers {said!r}, not {wanted!r}"
    return {"status": "skipped", "reason": reason, "top_answer": said}
