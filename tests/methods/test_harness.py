"""Tasks of lm-evaluation-harness on local files, against whole passes over each text (extra `eval`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("lm_eval")

import lm_eval  # pyright: ignore[reportMissingImports]
from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

import mambascope as ms
from mambascope.errors import ConfigError, DataError
from mambascope.methods.evaluation.harness import HarnessModel
from tests.runner.small import save_model

ROWS = [
    {"question": "The capital of France is", "choices": [" Paris", " a lake in Peru"], "gold": 1},
    {"question": "People in Chad speak", "choices": [" French", " Arabic and French"], "gold": 0},
    {"question": "Peru lies in", "choices": [" South America", " Asia", " Europe"], "gold": 2},
]
EDIT = ms.Edit(site="mixer_out", op="scale", layers=[0], value=-2.0)
TASKS = {
    "choose": {
        "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{gold}}", "target_delimiter": "", "metric_list": [{"metric": "acc"}],
    },
    "say": {
        "output_type": "generate_until", "doc_to_text": "{{question}}", "doc_to_target": "{{choices[0]}}",
        "generation_kwargs": {"until": ["e"], "max_gen_toks": 5, "do_sample": False},
        "metric_list": [{"metric": "bypass"}],
    },
    "roll": {
        "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "bits_per_byte"}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(saved: Path) -> ms.LanguageModel:
    return ms.load(str(saved))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> TaskManager:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}},
    }
    for name, task in TASKS.items():
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump({"task": name, "test_split": "test", **data, **task})
        )
    return TaskManager(include_path=str(folder), include_defaults=False)


def evaluated(harness: HarnessModel, tasks: TaskManager, name: str) -> tuple[dict, list]:
    found: Any = lm_eval.simple_evaluate(
        harness, tasks=[name], task_manager=tasks, bootstrap_iters=0
    )
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return found["results"][name], [sample["resps"] for sample in samples]


def logprob(
    model: ms.LanguageModel, context: list[int], more: list[int], edits: list[ms.Edit]
) -> tuple[float, bool]:
    every = model.run([context + more], edits=edits).logits[0].log_softmax(-1)
    at = range(len(context) - 1, len(context) + len(more) - 1)
    total = sum(float(every[t, token]) for t, token in zip(at, more, strict=True))
    return total, all(int(every[t].argmax()) == token for t, token in zip(at, more, strict=True))


@pytest.mark.parametrize("edited", [False, True])
def test_choices_are_scored_as_whole_passes_would(model, tasks, tmp_path, edited):
    edits = tmp_path / "edits.json"
    edits.write_text(
        json.dumps({"edits": [{"site": "mixer_out", "op": "scale", "layers": 0, "value": -2.0}]})
    )
    harness = HarnessModel(model, batch_size=2, edits=edits if edited else None)
    results, responses = evaluated(harness, tasks, "choose")
    right = []
    for row, given in zip(ROWS, responses, strict=True):
        context = model.tokenizer.encode(row["question"])
        wanted = [
            logprob(
                model,
                context,
                model.tokenizer.encode(row["question"] + c)[len(context) :],
                [EDIT] if edited else [],
            )
            for c in row["choices"]
        ]
        np.testing.assert_allclose(
            [each[0][0] for each in given], [total for total, _ in wanted], rtol=1e-4
        )
        assert [bool(each[0][1]) for each in given] == [greedy for _, greedy in wanted]
        right.append(np.argmax([total for total, _ in wanted]) == row["gold"])
    assert results["acc,none"] == pytest.approx(np.mean(right))


def test_texts_end_before_what_ends_them(model, tasks):
    _, responses = evaluated(HarnessModel(model), tasks, "say")
    for row, given in zip(ROWS, responses, strict=True):
        plain = model.generate(row["question"], max_new_tokens=5)
        assert given[0][0] == plain.split("e")[0]


@pytest.mark.parametrize("max_length", [2048, 3])
def test_whole_texts_are_scored_in_windows(model, tasks, max_length):
    results, _ = evaluated(HarnessModel(model, max_length=max_length), tasks, "roll")
    end, total, size = model.tokenizer.eos_token_id, 0.0, 0
    for row in ROWS:
        ids = model.tokenizer.encode(row["question"])
        for first in range(0, len(ids), max_length):
            last = min(
                first + max_length, len(ids)
            )  # the last window sees more, so as to be as long as the others
            context = [end] if first == 0 else ids[last - max_length - 1 : first]
            total += logprob(model, context, ids[first:last], [])[0]
        size += len(row["question"].encode())
    assert results["bits_per_byte,none"] == pytest.approx(-total / size / np.log(2), rel=1e-4)


def test_the_harness_finds_it_by_name(saved, tasks):
    found: Any = lm_eval.simple_evaluate(
        "mambascope",
        f"model={saved}",
        tasks=["choose"],
        task_manager=tasks,
        batch_size=4,
        bootstrap_iters=0,
        device="cpu",
    )
    assert 0 <= found["results"]["choose"]["acc,none"] <= 1


def test_what_cannot_be_done_is_said(model, tmp_path):
    with pytest.raises(ConfigError, match="batch_size"):
        HarnessModel(model, batch_size="auto")
    with pytest.raises(DataError, match="cannot read the edits"):
        HarnessModel(model, edits=tmp_path / "no.json")
    with pytest.raises(ConfigError, match="greedily"):
        HarnessModel(model)._settings({"do_sample": True})
