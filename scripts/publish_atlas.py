"""Put a trained atlas model into the package: `python scripts/publish_atlas.py checkpoints/atlas-mamba1`.

Writes models/bundled/<name>/: the weights in float16 (a file under 8 MB), tokenizer, figures.json, and README.md, the model
card. Every figure is measured on the files as shipped.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest

import mambascope as ms
from mambascope.data.facts import bundled_facts
from mambascope.data.recall import (
    RecallQuestion,
    commonest_answer_share,
    naming_any_share,
    passage_questions,
    seen_questions,
    unseen_questions,
)
from mambascope.models import bundled
from mambascope.models.language_model import LanguageModel
from mambascope.training.config import read_train_config
from mambascope.training.recall import Recall, measure_recall

PASSAGES = 500
GROUPS = ("2", "5-7", "10-12")


def main() -> None:
    """Publish the model of one training run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished training run")
    run: Path = parser.parse_args().run
    target = Path(bundled.__file__).parent / run.name
    ms.load(run / "final").to(torch.float16).save(target)
    figures = measure(ms.load(target))
    (target / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    (target / "README.md").write_text(model_card(run.name, figures))
    print(model_card(run.name, figures))


def measure(model: LanguageModel) -> dict[str, object]:
    """Every figure of the model card: shares with their 95 % Wilson intervals."""
    unseen = unseen_questions()
    recalled = recall_of(model, unseen)
    figures: dict[str, object] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "facts": len(bundled_facts()),
        "seen": shares(recall_of(model, seen_questions())),
        "unseen": shares(recalled),
        "commonest_answer": commonest_answer_share(),
    }
    for hops in (1, 2):
        for group in GROUPS:
            questions = passage_questions(group, hops, count=PASSAGES)
            figures[f"passages_{group}_hops_{hops}"] = {
                **shares(recall_of(model, questions)),
                "naming_any": round(naming_any_share(group, hops, count=PASSAGES), 4),
            }
    relations = np.array([q.group for q in unseen])
    figures["unseen_by_relation"] = {
        str(r): round(float(recalled.exact[relations == r].mean()), 3) for r in np.unique(relations)
    }
    return figures


def recall_of(model: LanguageModel, questions: list[RecallQuestion]) -> Recall:
    """Ask all of these questions."""
    return measure_recall(model, [(q.prompt, q.answer) for q in questions])


def shares(recall: Recall) -> dict[str, object]:
    """First-token and whole-answer hits, as shares."""
    return {
        "n": len(recall.exact),
        "first_token": share(recall.first_token),
        "exact": share(recall.exact),
    }


def share(hits: np.ndarray) -> list[float]:
    """The share of hits and its 95 % Wilson interval."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return [round(float(x), 4) for x in (hits.mean(), interval.low, interval.high)]


def model_card(name: str, figures: dict) -> str:
    """The README of the model."""
    config = read_train_config(Path("configs") / f"{name}.yaml")
    blind = figures["commonest_answer"]
    rows = "\n".join(_row(label, figures[key], blind) for label, key in _table())
    relations = "\n".join(
        f"| {r} | {100 * x:.1f} % |" for r, x in figures["unseen_by_relation"].items()
    )
    return f"""# {name}

A {config.model.architecture} language model of {figures["parameters"]:,} parameters and {config.model.n_layers} layers that
knows {figures["facts"]:,} real facts. Its siblings were trained with the same tokenizer, data and order, so that the
architectures can be compared. It is made for studying how such models store and move facts, not for use as a source of
facts: some of its training facts are out of date or simplified.

Made by `mambascope train --config configs/{name}.yaml` ({config.steps:,} steps of about {config.tokens_per_batch:,} tokens)
and `python scripts/publish_atlas.py`, which measured the figures below on these files. Weights: float16.

| asked | n | first token | whole answer (95 % interval) | without reading |
|---|---|---|---|---|
{rows}

"Without reading" is what always giving the relation's commonest answer would get, or naming any answer of the right kind
from the passage: where two steps are asked of two statements, there is only one. "Unseen" is a phrasing that training never
showed for that fact. Passages are about invented people whose names, given and family name together, never occur in training.

Whole answers on unseen phrasings by relation:

| relation | share |
|---|---|
{relations}

Licence: MIT for the weights; the facts and texts they were trained on are listed in NOTICE.
"""


def _table() -> list[tuple[str, str]]:
    rows = [("facts, seen phrasing", "seen"), ("facts, unseen phrasing", "unseen")]
    for hops, words in ((1, "one step"), (2, "two steps")):
        rows += [
            (f"passage of {g} statements, {words}", f"passages_{g}_hops_{hops}") for g in GROUPS
        ]
    return rows


def _row(label: str, figure: dict, blind: float) -> str:
    exact, low, high = (100 * x for x in figure["exact"])
    first = 100 * figure["first_token"][0]
    return (
        f"| {label} | {figure['n']:,} | {first:.1f} % | {exact:.1f} % ({low:.1f} to {high:.1f}) "
        f"| {100 * figure.get('naming_any', blind):.1f} % |"
    )


if __name__ == "__main__":
    main()
