"""`mambascope prompts` and `mambascope evaluate` from end to end, on a tiny random model."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mambascope as ms
from mambascope.cli.main import run
from mambascope.data.prompts import make_prompts, prompt_text
from mambascope.data.question_files import read_questions
from mambascope.runner.config import EvaluationSweep
from mambascope.runner.sweep import sweep
from tests.runner.small import same, save_model

EDITS = {"edits": [{"site": "mixer_out", "op": "zero", "layers": [0, 1]}]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    assert run(["prompts", "--per-level", "4", "--seed", "2", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def own_questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "own.jsonl"
    rows = [
        {"id": "a", "question": "Who?", "answers": ["Ann", "Bob"], "context": "Ann sings.", "category": "query"},
        {"id": "b", "question": "Unknown?", "answers": []},
        {"question": "Where?", "answers": ["here"]},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    return path


def evaluate(model: Path, out: Path, *options: str) -> int:
    return run(
        ["evaluate", "--model", str(model), "--out", str(out), "--max-new-tokens", "3", *options]
    )


def test_prompts_are_written_as_they_are_made_and_read_back(prompts, tmp_path, capsys):
    found, broken = read_questions(prompts)
    assert found == make_prompts(4, seed=2) and not broken
    again = tmp_path / "again.jsonl"
    assert run(["prompts", "--per-level", "4", "--seed", "2", "--out", str(again), "--json"]) == 0
    assert again.read_bytes() == prompts.read_bytes()
    assert json.loads(capsys.readouterr().out)["stress"] == 4


def test_original_prompts_are_kept_as_they_are_and_marked(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "Roses are", "answers": ["red"]}\n')
    out = tmp_path / "all.jsonl"
    assert (
        run(
            [
                "prompts",
                "--per-level",
                "1",
                "--original",
                str(tmp_path / "mine.jsonl"),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    first, *others = read_questions(out)[0]
    assert (first.dataset, prompt_text(first)) == ("original", "Roses are") and len(others) == 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "{}"], "it is a folder; name a file"),
        (["--out", "{}/p", "--per-level", "0"], "per_level must be at least 1, not 0"),
        (["--out", "{}/p", "--original", "no.jsonl"], "cannot read the questions in no.jsonl"),
    ],
)
def test_prompts_that_cannot_be_made_are_one_sentence_and_leave_nothing(
    options, said, tmp_path, capsys
):
    assert run(["prompts", *(option.format(tmp_path) for option in options)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_question_may_be_put_in_lines(model, prompts, tmp_path):
    out = tmp_path / "out"
    assert evaluate(model, out, "--prompts-file", str(prompts), "--form", "lines") == 0
    rows = pq.read_table(out / "facts.parquet").to_pylist()
    made = make_prompts(4, seed=2)
    assert [row["prompt"] for row in rows] == [prompt_text(prompt, "lines") for prompt in made]
    assert rows[0]["prompt"].endswith("?\nAnswer:")
    assert evaluate(model, out, "--prompts-file", str(prompts)) == 2  # a folder has one form


def test_an_evaluation_has_a_table_by_question_a_summary_and_a_figure(
    model, prompts, tmp_path, capsys
):
    out = tmp_path / "out"
    assert evaluate(model, out, "--prompts-file", str(prompts)) == 0
    assert "24 questions answered, 0 skipped, 0 failed" in capsys.readouterr().out
    rows = pq.read_table(out / "facts.parquet").to_pylist()
    made = make_prompts(4, seed=2)
    assert [row["fact_id"] for row in rows] == [prompt.id for prompt in made]
    assert [row["prompt"] for row in rows] == [prompt_text(prompt) for prompt in made]
    assert [tuple(row["answers"]) for row in rows] == [prompt.answers for prompt in made]
    assert all(row["status"] == "answered" and row["logprob"] < 0 for row in rows)
    with (out / "summary.csv").open() as lines:
        cells = {(r["category"], r["score"]): r for r in csv.DictReader(lines)}
    wanted = sum(row["logprob"] for row in rows) / len(rows)
    assert float(cells["all", "logprob"]["mean"]) == pytest.approx(wanted)
    assert cells["stress", "exact"]["n"] == "4"
    assert (out / "capability.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "summary.json").read_text())["evaluations"][0]["questions"] == 24
    opened = ms.open_results(out)
    assert opened["value"].dims == ("fact_id", "score") and opened.sizes["fact_id"] == 24


def test_published_questions_and_prompts_are_asked_together(
    model, prompts, own_questions, tmp_path, capsys
):
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match="own.jsonl: line 4"):
        code = evaluate(
            model,
            out,
            "--prompts",
            "both",
            "--prompts-file",
            str(prompts),
            "--questions",
            str(own_questions),
            "--json",
        )
    told = json.loads(capsys.readouterr().out)
    assert (
        code == 0
        and told["evaluations"][0]["questions"] == 26
        and told["evaluations"][0]["skipped"] == 1
    )
    rows = {row["fact_id"]: row for row in pq.read_table(out / "facts.parquet").to_pylist()}
    assert rows["a"]["prompt"] == "Passage: Ann sings. Question: Who? Answer:"
    assert (rows["b"]["status"], rows["b"]["reason"]) == ("skipped", "no accepted answer is known")
    assert rows["own/3"]["dataset"] == "own"
    named = {row["category"] for row in told["summary"]}
    assert named >= {"two_hop", "qa query", "qa unclassified", "all"}


def test_what_is_wrong_with_the_comparison_is_said_before_anything_is_asked(
    model, prompts, tmp_path, capsys
):
    edits, out, asked = tmp_path / "edits.json", tmp_path / "out", ("--prompts-file", str(prompts))
    edits.write_text(json.dumps({"edits": [{"site": "attn_out", "op": "zero", "layers": [0]}]}))
    assert evaluate(model, out, *asked, "--edits", str(edits)) == 2
    assert "attn_out" in capsys.readouterr().err
    assert evaluate(model, out, *asked, "--compare", str(tmp_path / "nowhere")) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not out.exists()


def test_a_model_is_compared_with_itself_under_edits(model, prompts, tmp_path, capsys):
    edits, out = tmp_path / "edits.json", tmp_path / "out"
    edits.write_text(json.dumps(EDITS))
    assert (
        evaluate(model, out, "--prompts-file", str(prompts), "--edits", str(edits), "--json") == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert [each["changed"] for each in told["evaluations"]] == [0, 1]
    plain, edited = ms.open_results(out), ms.open_results(out / "compared")
    cell = next(
        c
        for c in told["summary"]
        if " minus " in c["what"] and (c["category"], c["score"]) == ("all", "logprob")
    )
    gap = (edited["value"] - plain["value"]).sel(score="logprob").mean()
    assert cell["mean"] == pytest.approx(float(gap)) and abs(float(gap)) > 1e-4
    assert cell["q"] >= cell["p"] > 0


def test_another_model_is_compared_on_the_same_questions(model, prompts, tmp_path, capsys):
    other = save_model(tmp_path / "other", seed=7)
    assert (
        evaluate(model, tmp_path / "out", "--prompts-file", str(prompts), "--compare", str(other))
        == 0
    )
    said = capsys.readouterr().out
    assert "minus" in said and "on the same 24 questions" in said


def test_the_results_do_not_depend_on_the_number_of_workers(model, prompts, tmp_path):
    config = EvaluationSweep(
        model=str(model), prompts_file=str(prompts), batch=5, evaluation={"max_new_tokens": 3}
    )
    whole = sweep(config, tmp_path / "whole")
    two = sweep(config, tmp_path / "two", workers=2)
    assert same(whole, two)


def test_a_stopped_evaluation_goes_on_where_it_was(model, prompts, tmp_path, monkeypatch):
    from mambascope.methods.evaluation import many

    config = EvaluationSweep(
        model=str(model), prompts_file=str(prompts), batch=5, evaluation={"max_new_tokens": 3}
    )
    whole = sweep(config, tmp_path / "whole")
    do, calls = many.evaluate_many, []

    def counted(*given, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return do(*given, **named)

    monkeypatch.setattr(many, "evaluate_many", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep(config, tmp_path / "parts")
    sweep(config, tmp_path / "parts")
    assert same(whole, tmp_path / "parts")
    assert len(calls) == 1 + 5  # 24 prompts in batches of 5: two kept, one lost, three more


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--prompts", "dataset"],
            "questions (a file) and prompts 'dataset' or 'both' go together",
        ),
        (["--questions", "q.parquet"], "go together"),
        (
            ["--prompts", "dataset", "--questions", "no.jsonl"],
            "cannot read the questions in no.jsonl",
        ),
        (["--edits", "no.json"], "cannot read the edits"),
        (["--edits", "no.json", "--compare", "m"], "give one of the two"),
        (["--max-new-tokens", "0"], "max_new_tokens"),
    ],
)
def test_mistakes_are_one_sentence(model, tmp_path, capsys, options, said):
    arguments = ["evaluate", "--model", str(model), "--out", str(tmp_path / "out"), *options]
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


def test_a_result_is_shown_and_exported_again(model, prompts, tmp_path, capsys):
    out, table = tmp_path / "out", tmp_path / "cells.csv"
    evaluate(model, out, "--prompts-file", str(prompts))
    capsys.readouterr()
    assert run(["show", str(out), "--export", "csv", "--to", str(table)]) == 0
    assert "reasoning memory" in capsys.readouterr().out
    assert (out / "figures" / "capability.png").is_file()
    assert len(table.read_text().splitlines()) == 1 + 24 * 6
