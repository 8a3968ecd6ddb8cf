"""Results of many questions against passes of their own."""

import pytest
import xarray as xr

import mambascope as ms
from mambascope.data.fact_prompt import FactFailure, QuestionPrompt
from mambascope.data.prompts import make_prompts
from mambascope.data.prompts.asked import as_prompt
from mambascope.errors import ConfigError, SiteError
from mambascope.methods.evaluation.changes import Changes, WrittenEdit
from mambascope.methods.evaluation.config import EvaluationConfig
from mambascope.methods.evaluation.many import evaluate_many
from mambascope.options import checked
from mambascope.results.schema import SCORES


@pytest.fixture(scope="module")
def model() -> ms.LanguageModel:
    return ms.load("atlas-mamba1")


def questions() -> list[QuestionPrompt]:
    made = [as_prompt(question) for question in make_prompts(1, seed=3)]
    two = QuestionPrompt(
        fact_id="two", prompt="The capital of France is", answers=("London", "Paris"), dataset="d", relation="query",
    )  # fmt: skip
    tokens = QuestionPrompt(
        fact_id="tokens", prompt="The capital of France is", answers=("Paris and London",), dataset="d", relation="query",
    )  # fmt: skip
    none = QuestionPrompt(fact_id="none", prompt="What is it?", answers=(), dataset="d")
    empty = QuestionPrompt(fact_id="empty", prompt="  ", answers=("x",), dataset="d")
    return [two, tokens, none, *made, empty]


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


def test_no_tokens_to_decode_is_refused():
    with pytest.raises(ConfigError, match="max_new_tokens"):
        checked(EvaluationConfig, max_new_tokens=0)
