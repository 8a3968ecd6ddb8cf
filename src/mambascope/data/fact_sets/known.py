"""ROME's known_1000: facts that GPT-2 XL answers (Meng et al. 2022, https://rome.baulab.info/data).

A list of {known_id, subject, attribute, template, prediction, prompt, relation_id}. `prompt` counts, not `template`: in many
records it goes on with words that GPT-2 XL predicted before the attribute.
"""

from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.records import BrokenRecord, text


def is_known(record: Any) -> bool:
    """True for a record of this schema."""
    return isinstance(record, dict) and "attribute" in record


def read_known(record: Any) -> FactPrompt:
    """One fact."""
    if not isinstance(record, dict) or not isinstance(record.get("known_id"), int):
        raise BrokenRecord("field 'known_id' must be a whole number")
    return FactPrompt(
        fact_id=f"known-{record['known_id']}",
        prompt=text(record, "prompt"),
        subject=text(record, "subject"),
        answer=text(record, "attribute"),
        relation=text(record, "relation_id"),
    )
