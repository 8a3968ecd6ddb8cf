"""A tokenizer that is named beside the model: from wherever it lies, in place of the model's own, and never run as code."""

import json
import re
from pathlib import Path

import pytest
import torch

import mambascope as ms
from mambascope.data.tokenizer import load_tokenizer as atlas_tokenizer
from mambascope.errors import CheckpointError, ModelError, PromptError
from mambascope.models.load import load
from tests.models.checkpoints.small import (
    reference,
    save_as_state_spaces,
    tokenizer,
    write_original,
)
from tests.models.checkpoints.test_hub import HUB_ID, cache
from tests.runner.small import save_model

TEXT = "The capital of France is Paris, 1234 times"


@pytest.fixture(scope="module")
def without(tmp_path_factory) -> Path:
    """A state-spaces folder, which has no tokenizer, of a model over the atlas vocabulary."""
    folder = tmp_path_factory.mktemp("state-spaces")
    return save_as_state_spaces(load(save_model(folder / "ours")), folder / "original")


def saved(folder: Path) -> Path:
    tokenizer().save_pretrained(folder)
    return folder


def test_a_state_spaces_model_is_traced_by_text_once_a_tokenizer_is_named(without, tmp_path):
    with pytest.raises(PromptError, match=r"load it with one \(tokenizer=, --tokenizer\)"):
        load(without).run(TEXT)
    atlas_tokenizer().save_pretrained(tmp_path)
    model = load(without, tokenizer=tmp_path)
    ids = atlas_tokenizer().encode("The capital of France is")
    assert torch.equal(model.run("The capital of France is").logits, load(without).run(ids).logits)
    found = ms.trace(model, "The capital of France is", subject="France", samples=2)
    assert found["token"].values.tolist() == [atlas_tokenizer().decode([i]) for i in ids]


@pytest.mark.parametrize("form", ["folder", "file", "text", "bare", "model", "original model"])
def test_it_is_read_from_wherever_it_lies(form, without, tmp_path):
    source = saved(tmp_path / "there")
    if form == "file":
        source = source / "tokenizer.json"
    if form == "text":
        source = str(source)
    if form == "bare":
        (source / "tokenizer_config.json").unlink()
    if form == "model":
        reference("mamba").save_pretrained(source)
    if form == "original model":
        write_original(source, "mamba")
    assert load(without, tokenizer=source).tokenizer.encode(TEXT) == tokenizer().encode(TEXT)


def test_a_bundled_models_name_stands_for_its_tokenizer(without):
    expected = atlas_tokenizer().encode(TEXT)
    assert load(without, tokenizer="atlas-mamba2").tokenizer.encode(TEXT) == expected


def test_of_a_hub_model_only_what_describes_the_tokenizer_is_fetched(
    without, tmp_path, monkeypatch
):
    source = saved(tmp_path / "model")
    reference("mamba").save_pretrained(source)
    (source / "model.safetensors").unlink()
    cache(tmp_path / "home", source)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    assert load(without, tokenizer=HUB_ID).tokenizer.encode(TEXT) == tokenizer().encode(TEXT)
    asked = []

    def snapshot(_, allow_patterns, ignore_patterns):
        asked.extend(allow_patterns)
        return str(source)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    load(without, tokenizer=HUB_ID)
    assert "tokenizer*" in asked
    assert not any(re.search(r"safetensors|\.bin", pattern) for pattern in asked)


@pytest.mark.parametrize("broken", [False, True])
def test_it_takes_the_place_of_the_models_own(broken, tmp_path):
    atlas_tokenizer().save_pretrained(tmp_path / "model")
    reference("mamba").save_pretrained(tmp_path / "model")
    if broken:
        (tmp_path / "model" / "tokenizer.json").write_text("{}")
    model = load(tmp_path / "model", tokenizer=saved(tmp_path / "other"))
    assert model.tokenizer.encode(TEXT) == tokenizer().encode(TEXT)
    assert model.name == str(tmp_path / "model")


def test_a_model_object_gets_it_too(tmp_path):
    model = load(reference("mamba"), tokenizer=saved(tmp_path))
    assert model.tokenizer.encode(TEXT) == tokenizer().encode(TEXT)
    assert load(reference("mamba")).tokenizer is None


@pytest.mark.parametrize(
    ("source", "kind", "expected"),
    [
        ("./nowhere", ModelError, r"the tokenizer: there is no file or folder '\./nowhere'"),
        ("nobody/nothing", ModelError, "the tokenizer: .*'nobody/nothing' is not in the cache"),
        ("atlas-mamba3", ModelError, "the tokenizer: 'atlas-mamba3' is no bundled model"),
        ("{tmp}", CheckpointError, "the tokenizer: .* holds no tokenizer; it needs a tokenizer"),
        ("{tmp}/other", CheckpointError, "other cannot be read as a tokenizer.json"),
        ("{tmp}/broken", CheckpointError, "the tokenizer in .*broken cannot be read"),
    ],
)
def test_each_mistake_is_one_sentence(source, kind, expected, without, tmp_path):
    (tmp_path / "other").write_bytes(b"\x80\x00")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("[]")
    with pytest.raises(kind, match=expected) as caught:
        load(without, tokenizer=source.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)


def test_code_that_comes_with_a_tokenizer_is_never_run(without, tmp_path):
    folder, proof = saved(tmp_path / "evil"), tmp_path / "was here"
    (folder / "evil.py").write_text(f"from pathlib import Path\nPath({str(proof)!r}).touch()\n")
    words = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}}
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | words))
    try:
        load(without, tokenizer=folder)
    except CheckpointError as error:
        assert "the tokenizer in" in str(error)
    assert not proof.exists()
