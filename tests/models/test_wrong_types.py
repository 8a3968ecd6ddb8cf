"""What a caller without a type checker can get wrong is one clear sentence; the tests' own type checks are stepped around."""

import pytest
import torch

import mambascope as ms
from mambascope.errors import ConfigError, PromptError, SiteError
from mambascope.interventions.prompt import read_prompt
from mambascope.models.config import Mamba1Config
from mambascope.models.language_model import LanguageModel
from mambascope.models.load import _named_tokenizer
from mambascope.models.prompts import _rows
from mambascope.sites.positions import places_of
from mambascope.sites.site import layers_in_range
from mambascope.training.init import initialise


@pytest.fixture(scope="module")
def model():
    sizes = {"n_layers": 2, "d_model": 16, "d_inner": 32, "dt_rank": 1, "vocab_size": 8}
    model = LanguageModel(Mamba1Config(**sizes))
    initialise(model, 0)
    return model


def bare(function):
    """The function below its run-time type checks."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


@pytest.mark.parametrize("prompt", [None, 3, 1.5, [None], [["a"]], [[1.5]], {"a": 1}])
def test_what_is_no_prompt(prompt):
    rows = bare(_rows)
    with pytest.raises(PromptError, match="a prompt is a text, a list of texts"):
        rows(prompt, None)


@pytest.mark.parametrize("positions", [[1.5], slice(0, 2), [[0], ["a"]], 2.5, "01"])
def test_what_are_no_positions(positions):
    with pytest.raises(SiteError, match="positions must be a whole number"):
        bare(places_of)(positions, None, torch.tensor([3, 3]).numpy())


@pytest.mark.parametrize("layers", ["3", 1.5, [0.5], slice(0, 1)])
def test_what_are_no_layers(layers):
    with pytest.raises(SiteError, match="layers of site 'u' must be a whole number or a list"):
        bare(layers_in_range)(layers, 2, "site 'u'")


@pytest.mark.parametrize("edits", [ms.Edit(site="u", op="zero"), ["zero"], [None]])
def test_what_are_no_edits(edits, model):
    with pytest.raises(SiteError, match="edits must be a list of Edit"):
        bare(LanguageModel.run)(model, [1, 2], edits=edits)


@pytest.mark.parametrize("cuts", [ms.Cut(sources=0, targets=1), ["cut"], [None]])
def test_what_are_no_cuts(cuts, model):
    with pytest.raises(SiteError, match="cuts must be a list of Cut"):
        bare(LanguageModel.run)(model, [1, 2], cuts=cuts)


@pytest.mark.parametrize("count", [0, -1, 1.5, "3"])
def test_what_is_no_number_of_tokens(count, model):
    with pytest.raises(ConfigError, match="max_new_tokens must be 1 or more"):
        bare(LanguageModel.generate)(model, [1, 2], max_new_tokens=count)


def test_what_is_no_subject(model):
    with pytest.raises(PromptError, match="a text or a slice of positions, not a NoneType"):
        bare(read_prompt)(model, [1, 2], None)


@pytest.mark.parametrize("tokenizer", [3, ["a"], object()])
def test_what_names_no_tokenizer(tokenizer):
    with pytest.raises(ConfigError, match=r"by its name or a path, .*; put an object into"):
        bare(_named_tokenizer)(tokenizer)
