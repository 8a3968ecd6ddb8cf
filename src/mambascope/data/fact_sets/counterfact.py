"""CounterFact (Meng et al. 2022): a list of {case_id, requested_rewrite: {prompt, subject, target_true: {str}, relation_id}}.

The true target is the answer; the counterfactual one, and the paraphrases, are not used.
"""

from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets.fact_set import filled
from mambascope.data.records import BrokenRecord, text

REWRITE = "requested_rewrite"


def is_counterfact(record: Any) -> bool:
    """True for a record of this schema."""
    return isinstance(record, dict) and REWRITE in record


def read_counterfact(record: Any) -> FactPrompt:
    """One fact."""
    subject, template = text(record, REWRITE, "subject"), text(record, REWRITE, "prompt")
    if "{}" not in template:
        raise BrokenRecord(f"field '{REWRITE}.prompt' must hold {{}} where the subject goes")
    if not isinstance(record.get("case_id"), int):
        raise BrokenRecord("field 'case_id' must be a whole number")
    return FactPrompt(
        fact_id=f"counterfact-{record['case_id']}",
        prompt=filled(template, subject),
        subject=subject,
        answer=text(record, REWRITE, "target_true", "str"),
        relation=text(record, REWRITE, "relation_id"),
    )
