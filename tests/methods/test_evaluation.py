"""Scores by hand, results of many questions against passes of their own, means and differences against numbers by hand."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import mambascope as ms
from mambascope.data.fact_prompt import FactFailure, QuestionPrompt
from mambascope.data.prompts import make_prompts
from mambascope.data.prompts.asked import as_prompt
from mambascope.errors import ConfigError, DataError, OutputError, SiteError
from mambascope.methods.evaluation import scores
from mambascope.methods.evaluation.aggregate import by_category, paired
from mambascope.methods.evaluation.changes import Changes, WrittenEdit, read_changes
from mambascope.methods.evaluation.config import EvaluationConfig
from mambascope.methods.evaluation.many import evaluate_many
from mambascope.options import checked
from mambascope.plots.evaluation import capability_figure
from mambascope.results.schema import SCORES

# ---- scores ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("  an  apple,a day ", "applea day"),  # punctuation goes before words are told apart
        ("A.B.C.", "abc"),
        ("Theatre of the Absurd", "theatre of absurd"),
        ("the", ""),
        ("1,000", "1000"),
    ],
)
def test_the_normal_form_is_squads(text: str, normal: str):
    assert scores.normalised(text) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("The cat", ["cat"], 1.0, 1.0),
        ("black cat", ["the cat sat", "dog"], 0.0, 0.5),  # 1 of 2 and 1 of 2 words
        (
            "cat cat cat",
            ["cat"],
            0.0,
            0.5,
        ),  # a word counts as often as both have it: 1 of 3, 1 of 1
        ("in the old town of Bern", ["Bern"], 0.0, 1 / 3),  # 1 of 5 words and 1 of 1: 2 * 0.2 / 1.2
        ("dog", ["cat", "a dog"], 1.0, 1.0),
        ("", ["cat"], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),  # both without a word
    ],
)
def test_exact_match_and_f1_by_hand(prediction, answers, exact, f1):
    assert scores.exact(prediction, answers) == exact
    assert scores.f1(prediction, answers) == pytest.approx(f1)


@settings(deadline=None)
@given(st.text("ab the.,", max_size=14), st.text("ab the.,", max_size=14))
def test_f1_is_symmetric_bounded_and_one_where_exact_is(one: str, other: str):
    value = scores.f1(one, [other])
    assert 0 <= value <= 1 and value == pytest.approx(scores.f1(other, [one]))
    if scores.exact(one, [other]):
        assert value == 1


def test_containment_looks_anywhere_and_an_answer_without_words_is_not_everywhere():
    assert scores.contained("I think, it is the Mill.\nOr not", ["x", "mill"]) == 1
    assert scores.contained("I think it is a tower", ["mill"]) == 0
    assert scores.contained("something", ["the"]) == 0
    assert scores.contained("", ["the"]) == 1


@pytest.mark.parametrize(
    ("continuation", "answer", "over"),
    [
        (" mill. Question: Who", "mill", True),
        (" mill.", "mill", False),  # "mill.5" could follow
        (" mill", "mill", False),
        ("\n\nParis\nQ", "Paris", True),
        (" St. Louis. It is", "St. Louis", True),
        (" J. R. R. Tolkien! He", "J. R. R. Tolkien", True),
        (" 3.5 million", "3.5 million", False),
        ("", "", False),
    ],
)
def test_the_first_answer_ends_with_its_line_or_sentence(continuation, answer, over):
    assert scores.first_answer(continuation) == answer
    assert scores.answered(continuation) == over


# ---- many questions --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> ms.LanguageModel:
    return ms.load("atlas-mamba1")


def questions() -> list[QuestionPrompt]:
    made = [as_prompt(question) for question in make_prompts(1, seed=3)]
    two = QuestionPrompt(
        fact_id="two", prompt="The capital of France is", answers=("London", "Paris"), dataset="d", relation="query",
    )  # fmt: skip
    none = QuestionPrompt(fact_id="none", prompt="What is it?", answers=(), dataset="d")
    empty = QuestionPrompt(fact_id="empty", prompt="  ", answers=("x",), dataset="d")
    return [two, none, *made, empty]


def alone(
    model: ms.LanguageModel, question: QuestionPrompt, edits: list[ms.Edit]
) -> dict[str, float]:
    """From whole passes, without carry, batch or early end."""
    ids = model.tokenizer.encode(question.prompt)
    made: list[int] = []
    for _ in range(4):
        logits = model.run([ids + made], edits=edits, logits="last").logits[0]
        if int(logits.argmax()) in model.config.eos_ids:
            break
        made.append(int(logits.argmax()))
    said = model.tokenizer.decode(made).strip().split(".")[0].split("\n")[0]
    first = model.run([ids], edits=edits, logits="last").logits[0]
    logprobs, ranks = [], []
    for answer in question.answers:
        more = model.tokenizer.encode(" " + answer, add_special_tokens=False)
        every = model.run([ids + more], edits=edits).logits[0].log_softmax(-1)
        logprobs.append(sum(float(every[len(ids) - 1 + i, token]) for i, token in enumerate(more)))
        ranks.append(1 + int((first > first[more[0]]).sum()))
    exact = float(any(said.lower() == answer.lower() for answer in question.answers))
    return {"exact": exact, "logprob": max(logprobs), "reciprocal_rank": 1 / min(ranks)}


EDIT = {"site": "mixer_out", "op": "scale", "layers": [2], "value": 0.3}


@pytest.mark.slow
@pytest.mark.parametrize("edited", [False, True])
def test_each_question_of_many_is_as_it_is_alone(model, edited):
    changes = Changes(edits=(WrittenEdit(**EDIT),)) if edited else Changes()
    config = EvaluationConfig(max_new_tokens=4, changes=changes)
    asked = questions()
    found = evaluate_many(model, asked, config)
    assert [type(each) is FactFailure for each in found] == [
        q.fact_id in ("none", "empty") for q in asked
    ]
    for question, result in zip(asked, found, strict=True):
        if isinstance(result, FactFailure):
            continue
        assert result["score"].values.tolist() == list(SCORES)
        values = dict(zip(SCORES, result["value"].values.tolist(), strict=True))
        for name, wanted in alone(model, question, changes.made()[0]).items():
            assert values[name] == pytest.approx(wanted, abs=1e-3), (question.fact_id, name)
        assert values["first_token"] == (result.attrs["rank"] == 1)


def test_an_edit_changes_what_is_found(model):
    plain, edited = (
        evaluate_many(model, questions(), EvaluationConfig(changes=changes))
        for changes in (Changes(), Changes(edits=(WrittenEdit(**EDIT),)))
    )
    assert any(
        float(one["value"].sel(score="logprob")) != float(other["value"].sel(score="logprob"))
        for one, other in zip(plain, edited, strict=True)
        if isinstance(one, xr.Dataset)
    )


def test_the_best_of_the_accepted_answers_counts(model):
    result = evaluate_many(model, questions()[:1], EvaluationConfig())[0]
    assert result.attrs["answer"] == "Paris" and result.attrs["top_answer"] == " Paris"
    assert result.attrs["prediction"] == "Paris" and result.attrs["rank"] == 1


def test_a_position_that_a_prompt_lacks_is_its_own_failure(model):
    far = WrittenEdit(site="resid_pre", op="zero", layers=[0], positions=[30])
    asked = questions()
    found = evaluate_many(model, asked, EvaluationConfig(changes=Changes(edits=(far,))))
    lengths = [len(model.tokenizer.encode(q.prompt)) for q in asked]
    for question, length, result in zip(asked, lengths, found, strict=True):
        failed = isinstance(result, FactFailure)
        assert failed == (length <= 30 or not question.answers)
        if failed and question.fact_id == "two":
            assert "position 30 is out of range" in result.reason


def test_an_edit_that_cannot_last_is_refused_whatever_the_question(model):
    wide = WrittenEdit(site="resid_pre", layers=[0], value=[[[0.0] * model.config.d_model] * 2])
    with pytest.raises(SiteError, match="give its positions"):
        evaluate_many(model, questions(), EvaluationConfig(changes=Changes(edits=(wide,))))


# ---- edits in JSON ---------------------------------------------------------------------------------


def test_written_edits_and_cuts_are_those_of_python(tmp_path):
    cut = {"sources": [0, 1], "targets": -1, "route": "conv", "layers": 2}
    edit = {
        "site": "u",
        "op": "add",
        "layers": [1],
        "positions": -1,
        "units": [0, 3],
        "value": [1.0, 2.0],
    }
    (tmp_path / "e.json").write_text(json.dumps({"edits": [edit], "cuts": [cut]}))
    (made,), (removed,) = read_changes(tmp_path / "e.json").made()
    assert (made.site, made.op, tuple(made.layers), made.positions, made.units) == (
        "u",
        "add",
        (1,),
        -1,
        [0, 3],
    )
    assert torch.equal(made.value, torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert (tuple(removed.sources), removed.targets, removed.route, removed.layers) == (
        (0, 1),
        -1,
        "conv",
        2,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "holds no edits"),
        ("[]", "holds no edits"),
        ("{}", 'names no edits and no cuts; such a file is {"edits"'),
        ('{"edits": [{"sit": "u"}]}', "edits.0.site"),
        ('{"edits": [{"site": "u", "rows": [0]}]}', "rows"),
        ('{"edits": [{"site": "u", "op": "apply"}]}', "op"),
        ('{"edits": [{"site": "u", "value": "big"}]}', "value"),
    ],
)
def test_a_file_of_edits_that_holds_none_is_refused_in_a_sentence(tmp_path, text, said):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(DataError, match=said):
        read_changes(tmp_path / "e.json")
    with pytest.raises(DataError, match="cannot read the edits"):
        read_changes(tmp_path / "no.json")


def test_uneven_values_are_refused():
    with pytest.raises(DataError, match="even lists"):
        WrittenEdit(site="u", value=[[1.0], [1.0, 2.0]]).made()


def test_no_tokens_to_decode_is_refused():
    with pytest.raises(ConfigError, match="max_new_tokens"):
        checked(EvaluationConfig, max_new_tokens=0)


# ---- means and differences -------------------------------------------------------------------------


def evaluation(values: dict[str, list[float]], **attrs: object) -> xr.Dataset:
    """By category the exact matches of its questions; the other scores are the same, the log-probability half of it."""
    rows = [(name, value) for name, column in values.items() for value in column]
    exact = np.array([float(value) for _, value in rows])
    table = np.stack([exact] * len(SCORES), axis=1)
    table[:, SCORES.index("logprob")] = exact / 2 - 1
    ids = [f"q{i}" for i in range(len(rows))]
    coords = {
        "fact_id": ids,
        "score": list(SCORES),
        "category": ("fact_id", [name for name, _ in rows]),
    }
    for name in ("prompt", "dataset", "prediction"):
        coords[name] = ("fact_id", ids)
    coords["rank"] = ("fact_id", np.ones(len(ids), dtype=int))
    told = {
        "method": "sweep.evaluate", "model": "m", "weights": "w", "config": "{}", "max_new_tokens": 4,
        "changes": '{"edits":[],"cuts":[]}', "versions": "{}", "failed": 0, "skipped": 0, **attrs,
    }  # fmt: skip
    return xr.Dataset({"value": (("fact_id", "score"), table)}, coords, told)


def test_means_by_category_with_wilsons_intervals():
    found = by_category(
        evaluation({"two_hop": [1, 1, 0, 0, 0, 0, 0, 0, 0, 0], "simple_recall": [0] * 10})
    )
    assert found["category"].values.tolist() == ["simple_recall", "two_hop", "all"]
    exact = found.sel(score="exact")
    np.testing.assert_allclose(exact["mean"], [0, 0.2, 0.1])
    # Wilson: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), z = 1.959964, n = 10
    np.testing.assert_allclose(exact["low"][:2], [0.0, 0.0566822], atol=1e-6)
    np.testing.assert_allclose(exact["high"][:2], [0.2775328, 0.5098375], atol=1e-6)
    assert exact["n"].values.tolist() == [10, 10, 20]
    np.testing.assert_allclose(found["mean"].sel(score="logprob"), [-1, -0.9, -0.95])


def test_a_category_without_a_name_is_called_unclassified():
    found = by_category(evaluation({"": [1, 0], "query": [1, 1]}))
    assert found["category"].values.tolist() == ["query", "unclassified", "all"]


def test_questions_of_data_sets_stand_apart_from_made_prompts():
    given = evaluation({"two_hop": [1, 1, 0, 0], "stress": [1], "": [0]})
    sets = ("fact_id", ["custom", "original", "hotpotqa", "musique", "custom", "nq"])
    found = by_category(given.assign_coords(dataset=sets)).sel(score="exact")
    names = ["two_hop", "stress", "qa two_hop", "qa unclassified", "all"]
    assert found["category"].values.tolist() == names
    np.testing.assert_allclose(found["mean"], [1, 1, 0, 0, 0.5])
    alone = by_category(given.assign_coords(dataset=("fact_id", ["nq"] * 6)))
    assert alone["category"].values.tolist() == ["two_hop", "stress", "unclassified", "all"]


def test_differences_are_paired_by_question():
    first = evaluation({"two_hop": [0] * 12, "stress": [1, 0] * 6})
    second = evaluation({"two_hop": [1] * 12, "stress": [0, 1] * 6}, model="n")
    shuffled = second.isel(fact_id=np.random.default_rng(0).permutation(24))
    found = paired(first, shuffled)
    exact = found.sel(score="exact")
    assert exact["category"].values.tolist() == ["two_hop", "stress", "all"]
    np.testing.assert_allclose(exact["effect"], [1, 0, 0.5])
    assert (
        float(exact["p"].sel(category="two_hop"))
        < 0.01
        < 0.9
        < float(exact["p"].sel(category="stress"))
    )
    assert (found["q"] >= found["p"]).all()
    assert (found.attrs["first"], found.attrs["second"]) == ("m", "n")


def test_only_shared_questions_are_paired_and_none_is_an_error():
    first = evaluation({"two_hop": [0, 0, 1, 1]})
    found = paired(first, first.isel(fact_id=[1, 2]))
    assert found.attrs["questions"] == 2 and found["n"].max() == 2
    other = first.assign_coords(fact_id=["a", "b", "c", "d"])
    with pytest.raises(OutputError, match="no question in common"):
        paired(first, other)
    with pytest.raises(OutputError, match="other things"):
        paired(first, first.assign_coords(prompt=("fact_id", ["w", "x", "y", "z"])))


def test_the_figure_shows_the_means_and_their_intervals():
    means = [by_category(evaluation({"two_hop": [1, 0, 0, 0]}, model=name)) for name in ("a", "b")]
    figure = capability_figure(*means)
    panel = figure.axes[0]
    bars = [bar for bar in panel.patches if bar.get_height() > 0]
    assert [bar.get_height() for bar in bars] == [0.25] * 4  # the category and all, for two models
    low, high = (
        float(means[0][part].sel(category="two_hop", score="exact")) for part in ("low", "high")
    )
    ends = [segment[:, 1] for line in panel.collections for segment in line.get_segments()]
    assert any(np.allclose(sorted(end), [low, high]) for end in ends)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(OutputError, match="'logprob' is no score"):
        capability_figure(*means, scores=["logprob"])
