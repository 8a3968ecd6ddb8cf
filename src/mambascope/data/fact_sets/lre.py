"""A relation of the LRE data set (Hernandez et al. 2024, arXiv 2308.09124): one JSON file per relation.

{name, prompt_templates, prompt_templates_zs, samples: [{subject, object}]}. Each sample is asked in the first zero-shot
template, which alone says what kind of answer is due; without one, in the first of the others. Some files of the source hold
accents that were escaped twice, six characters for one letter; they are read as what was meant.
"""

import json
import re
from typing import Any

from mambascope.data.fact_prompt import FactPrompt
from mambascope.data.fact_sets.fact_set import FactSet, collect, filled
from mambascope.data.records import text
from mambascope.errors import DataError

TEMPLATES = ("prompt_templates_zs", "prompt_templates")
ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")


def is_lre(content: Any) -> bool:
    """True for a file of this schema."""
    return isinstance(content, dict) and bool({"samples", *TEMPLATES} & content.keys())


def read_lre(where: str, stem: str, content: dict[str, Any]) -> FactSet:
    """The facts of one relation; `stem` begins their ids. DataError names the field that is wrong."""
    template, samples = _template(where, content), content.get("samples")
    if not isinstance(samples, list):
        raise DataError(f"{where}: field 'samples' must be a list of {{subject, object}}")
    name = content.get("name")
    relation = name if isinstance(name, str) and name.strip() else stem
    seen: dict[str, int] = {}

    def read(sample: Any) -> FactPrompt:
        subject = _unescaped(text(sample, "subject")).strip()
        answer = _unescaped(text(sample, "object")).strip()
        seen[subject] = seen.get(subject, 0) + 1
        again = f" ({seen[subject]})" if seen[subject] > 1 else ""
        return FactPrompt(
            fact_id=f"{stem}/{subject}{again}",
            prompt=filled(template, subject),
            subject=subject,
            answer=answer,
            relation=relation,
        )

    return collect(where, ((f"sample {i}", sample) for i, sample in enumerate(samples)), read)


def _template(where: str, content: dict[str, Any]) -> str:
    for name in TEMPLATES:
        found = content.get(name)
        if isinstance(found, list) and found:
            if isinstance(found[0], str) and "{}" in found[0]:
                return found[0]
            raise DataError(
                f"{where}: field '{name}' must hold texts with {{}} where the subject goes, not {found[0]!r}"
            )
    raise DataError(
        f"{where}: field '{TEMPLATES[1]}' is missing; it must hold texts with {{}} where the subject goes"
    )


def _unescaped(written: str) -> str:
    return ESCAPES.sub(lambda found: json.loads(f'"{found[0]}"'), written)
