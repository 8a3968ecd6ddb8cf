"""`mambascope trace` on a real model of random weights, from its folder to the files, and each mistake one can make."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mambascope import trace
from mambascope.cli.main import run
from mambascope.data.tokenizer import load_tokenizer as atlas_tokenizer
from mambascope.models.load import load
from mambascope.results import load as load_result
from tests.models.checkpoints.small import save_as_state_spaces

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from mambascope.data.tokenizer import load_tokenizer
    from mambascope.models.config import Mamba1Config
    from mambascope.models.language_model import LanguageModel
    from mambascope.training.init import initialise

    tokenizer = load_tokenizer()
    sizes = {"n_layers": 3, "d_model": 32, "d_inner": 64, "dt_rank": 2}
    model = LanguageModel(Mamba1Config(vocab_size=len(tokenizer), **sizes), tokenizer)
    initialise(model, seed=1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("_proj.weight", "embedding")):
                weight.mul_(
                    10
                )  # so that the mixers matter, and the tokens before the last with them
    folder = tmp_path_factory.mktemp("model")
    model.save(folder)
    return folder


@pytest.mark.parametrize("site", ["resid_post", "mixer_out", "state"])
def test_the_command_gives_what_the_method_gives(site: str, folder: Path, tmp_path: Path, capsys):
    options = ["--model", str(folder), "--samples", "3", "--seed", "5", "--site", site]
    assert (
        run(["trace", PROMPT, "--subject", "France", *options, "--out", str(tmp_path), "--json"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    expected = trace(load(folder), PROMPT, subject="France", site=site, samples=3, seed=5)
    np.testing.assert_allclose(told["score"], expected["score"].values, rtol=1e-4)
    assert np.ptp(told["score"]) > 1e-4
    written = load_result(tmp_path)
    assert written["score"].values.tolist() == told["score"]
    assert written.attrs["method"] == "trace"
    assert json.loads(written.attrs["config"])["samples"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([PROMPT, "--subject", "Spain"], "'Spain' does not occur in the prompt"),
        (["", "--subject", "France"], "the prompt is empty"),
        ([PROMPT, "--subject", "France", "--site", "hidden"], "'hidden'"),
        ([PROMPT, "--subject", "France", "--site", "logits"], "'logits'"),
        ([PROMPT, "--subject", "France", "--answer", ""], "the answer is empty"),
        ([PROMPT, "--subject", "France", "--dtype", "int8"], "dtype must be one of"),
        ([PROMPT, "--subject", "France", "--device", "tpu"], "device must be"),
    ],
)
def test_each_mistake_is_one_line(arguments: list[str], message: str, folder: Path, capsys):
    assert run(["trace", *arguments, "--model", str(folder)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("mambascope: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_what_is_no_model_is_named(tmp_path: Path, capsys):
    for model in ("no-such-model", "no/such-model", str(tmp_path), str(tmp_path / "absent")):
        assert run(["trace", PROMPT, "--subject", "France", "--model", model]) == 2
        printed = capsys.readouterr().err
        assert printed.startswith("mambascope: ")
        assert model in printed
        assert printed.count("\n") == 1


def test_another_answer_is_a_warning_and_not_an_error(folder: Path, capsys):
    asked = ["trace", PROMPT, "--subject", "France", "--answer", "Paris", "--samples", "2"]
    assert run([*asked, "--model", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "warning: the model answers" in printed.err
    assert "clean" in printed.out


def test_a_model_without_a_tokenizer_is_traced_with_the_one_that_is_named(
    folder: Path, tmp_path: Path, capsys
):
    bare = save_as_state_spaces(load(folder), tmp_path / "original")
    atlas_tokenizer().save_pretrained(tmp_path / "tokenizer")
    asked = ["trace", PROMPT, "--subject", "France", "--samples", "2", "--model", str(bare)]
    assert run(asked) == 2
    told = capsys.readouterr().err
    assert "this model has no tokenizer" in told
    assert "--tokenizer" in told
    assert run([*asked, "--json", "--tokenizer", str(tmp_path / "tokenizer")]) == 0
    score = json.loads(capsys.readouterr().out)["score"]
    expected = trace(load(folder), PROMPT, subject="France", samples=2)
    np.testing.assert_allclose(score, expected["score"].values, rtol=1e-4)
