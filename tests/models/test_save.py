"""Saving: transformers loads what was saved to the same logits; whole or not at all; refused with the reason."""

import json
import os

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mambascope.errors import ModelError, OutputError
from mambascope.models.checkpoints.hash import weights_hash
from mambascope.models.config import Mamba1Config, Mamba2Config, ModelConfig, TransformerConfig
from mambascope.models.language_model import LanguageModel
from mambascope.models.load import load
from tests.models.checkpoints.small import (
    REFERENCES,
    VOCAB,
    assert_same_logits,
    reference,
    reference_logits,
    tokenizer,
)

MAMBA1 = Mamba1Config(n_layers=2, d_model=8, d_inner=16, dt_rank=3, vocab_size=VOCAB)
MAMBA2 = Mamba2Config(
    n_layers=2, d_model=8, d_inner=16, n_heads=4, head_dim=4, n_groups=2, vocab_size=VOCAB
)
TRANSFORMER = TransformerConfig(
    n_layers=2,
    d_model=8,
    vocab_size=VOCAB,
    n_heads=2,
    n_kv_heads=2,
    head_dim=4,
    d_mlp=16,
    max_positions=32,
)


def random_model(config: ModelConfig) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize("kind", REFERENCES)
def test_transformers_loads_a_saved_model_to_the_same_logits(kind, tmp_path):
    theirs = reference(kind)
    load(theirs).save(tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    same_class = {"mistral": "LlamaForCausalLM"}.get(kind, type(theirs).__name__)
    assert type(again).__name__ == same_class
    for logits, expected in zip(reference_logits(again), reference_logits(theirs), strict=True):
        torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        MAMBA1,
        MAMBA1.model_copy(update={"d_inner": 20}),
        MAMBA1.model_copy(update={"bcdt_norm_eps": 1e-4, "tie_embeddings": False}),
        MAMBA2.model_copy(update={"dt_limit": (0.05, 0.2), "eos_ids": (1, 2)}),
        MAMBA2.model_copy(update={"n_groups": 1, "norm_scope": "width"}),
        TRANSFORMER.model_copy(update={"activation": "relu", "d_mlp": 20}),
        TRANSFORMER.model_copy(update={"positions": "rotary", "rotary_dim": 2, "parallel": True}),
        TRANSFORMER.model_copy(
            update={
                "positions": "rotary",
                "rotary_dim": 4,
                "norm": "rms",
                "gated_mlp": True,
                "n_kv_heads": 1,
                "out_bias": False,
                "mlp_bias": False,
                "activation": "silu",
            }
        ),
    ],
)
def test_a_model_of_ours_saves_and_loads_back_here_and_in_transformers(config, tmp_path):
    model = random_model(config)
    model.save(tmp_path / "saved")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    assert_same_logits(model, reference_logits(theirs), atol=1e-4)
    again = load(tmp_path / "saved")
    assert weights_hash(again) == weights_hash(model)
    assert again.config == config.model_copy(
        update={"norm_scope": "group"} if "norm_scope" in type(config).model_fields else {}
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_the_weights_are_saved_in_their_own_dtype(dtype, tmp_path):
    model = load(reference("mamba2"), dtype=dtype)
    model.save(tmp_path / "saved")
    assert weights_hash(load(tmp_path / "saved", dtype=dtype)) == weights_hash(model)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved").dtype == model.dtype


def test_the_tokenizer_is_saved_beside_the_weights(tmp_path):
    model = load(reference("mamba"))
    model.tokenizer = tokenizer()
    model.save(tmp_path / "saved")
    text = "The capital of France is Paris, 1234."
    expected = tokenizer().encode(text)
    assert load(tmp_path / "saved").tokenizer.encode(text) == expected
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").encode(text) == expected
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["bos_token_id"] == tokenizer().bos_token_id


def test_a_model_in_training_can_be_saved(tmp_path):
    model = random_model(MAMBA1).train().requires_grad_(True)
    model.save(tmp_path / "saved")
    assert weights_hash(load(tmp_path / "saved")) == weights_hash(model)


REFUSED = {
    "width": (
        MAMBA2.model_copy(update={"norm_scope": "width"}),
        "takes the gated norm within each group, and this model has 2 groups but norm_scope = 'width'",
    ),
    "before": (
        MAMBA2.model_copy(update={"gated_norm": "before_gate"}),
        "the mamba2 layout cannot say gated_norm = 'before_gate'; it is always 'after_gate'",
    ),
    "no norm": (
        MAMBA2.model_copy(update={"gated_norm": None}),
        "the mamba2 layout cannot say gated_norm = None; it is always 'after_gate'",
    ),
    "odd width": (
        MAMBA2.model_copy(update={"d_inner": 20, "head_dim": 5}),
        "needs a d_inner that is a multiple of d_model, but they are 20 and 8",
    ),
    "mixed": (
        TRANSFORMER.model_copy(update={"norm": "rms"}),
        "gpt2 layout cannot say norm = 'rms'.* gpt_neox layout cannot say positions = 'learned'.* "
        "llama layout cannot say positions = 'learned'",
    ),
    "wide residual": (
        TRANSFORMER.model_copy(update={"residual_in_fp32": True}),
        "gpt2 layout cannot say residual_in_fp32 = True",
    ),
    "narrow heads": (
        TRANSFORMER.model_copy(update={"head_dim": 3}),
        r"gpt2 layout cannot say head_dim = 3; it is always 4\.0",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_layout_cannot_express_is_refused_and_nothing_is_written(what, tmp_path):
    config, expected = REFUSED[what]
    with pytest.raises(ModelError, match=expected) as caught:
        random_model(config).save(tmp_path / "saved")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_parent_folders_are_made(tmp_path):
    random_model(MAMBA1).save(tmp_path / "a" / "b")
    assert load(tmp_path / "a" / "b").config == MAMBA1


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "saved").mkdir()
    random_model(MAMBA1).save(tmp_path / "saved")
    assert load(tmp_path / "saved").config == MAMBA1
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_model_is_replaced_and_other_files_beside_it_stay(tmp_path):
    old = load(reference("gpt2"))
    old.tokenizer = tokenizer()
    old.save(tmp_path / "saved")
    (tmp_path / "saved" / "README.md").write_text("a card")
    (tmp_path / "saved" / "notes").mkdir()
    (tmp_path / "saved" / "notes" / "one.txt").write_text("a note")
    new = random_model(MAMBA1)
    new.save(tmp_path / "saved")
    found = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert found == ["README.md", "config.json", "model.safetensors", "notes"]
    assert (tmp_path / "saved" / "notes" / "one.txt").read_text() == "a note"
    assert weights_hash(load(tmp_path / "saved")) == weights_hash(new)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_model_can_be_saved_over_the_files_it_came_from(tmp_path):
    reference("mamba").save_pretrained(tmp_path / "saved")
    model = load(tmp_path / "saved")
    before = weights_hash(model)
    model.save(tmp_path / "saved")
    assert weights_hash(model) == before == weights_hash(load(tmp_path / "saved"))


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds files but no model, and is left alone"):
        random_model(MAMBA1).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "saved").write_text("something")
    with pytest.raises(OutputError, match="is a file; give a folder"):
        random_model(MAMBA1).save(tmp_path / "saved")
    with pytest.raises(OutputError, match="cannot be saved to"):
        random_model(MAMBA1).save(tmp_path / "saved" / "inside")
    assert (tmp_path / "saved").read_text() == "something"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"cannot be saved to .*Permission denied"):
        random_model(MAMBA1).save(tmp_path / "saved")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("moment", ["weights", "moving"])
def test_a_save_that_breaks_off_leaves_the_old_model_and_nothing_else(
    moment, tmp_path, monkeypatch
):
    old = random_model(MAMBA1)
    old.save(tmp_path / "saved")
    new = random_model(MAMBA2)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    if moment == "weights":
        monkeypatch.setattr("safetensors.torch.save_file", interrupt)
    else:
        rename = type(tmp_path).rename
        monkeypatch.setattr(
            type(tmp_path),
            "rename",
            lambda path, to: interrupt() if path.name == "new" else rename(path, to),
        )
    with pytest.raises(KeyboardInterrupt):
        new.save(tmp_path / "saved")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert weights_hash(load(tmp_path / "saved")) == weights_hash(old)
