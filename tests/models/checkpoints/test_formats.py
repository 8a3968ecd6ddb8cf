"""The renaming tables and the words of config.json, read in both directions."""

import pytest
import torch
import transformers

from mambascope.errors import ModelError
from mambascope.models.checkpoints import (
    transformers_gpt2,
    transformers_gpt_neox,
    transformers_llama,
    transformers_mamba,
    transformers_mamba2,
)
from mambascope.models.checkpoints.catalogue import TRANSFORMERS, format_of
from mambascope.models.checkpoints.state_spaces import STATE_SPACES
from mambascope.models.config import Llama3Rope, Mamba1Config, Mamba2Config, TransformerConfig
from mambascope.models.load import load
from mambascope.models.save import tensors_on_disk
from tests.models.checkpoints.small import REFERENCES, original_layout, reference, write_original

DEFAULTS = {
    "MambaConfig": transformers_mamba.DEFAULTS,
    "FalconMambaConfig": transformers_mamba.FALCON_DEFAULTS,
    "Mamba2Config": transformers_mamba2.DEFAULTS,
    "GPT2Config": transformers_gpt2.DEFAULTS,
    "GPTNeoXConfig": transformers_gpt_neox.DEFAULTS,
    "LlamaConfig": transformers_llama.DEFAULTS,
    "MistralConfig": transformers_llama.MISTRAL_DEFAULTS,
    "Qwen2Config": transformers_llama.QWEN2_DEFAULTS,
}
DERIVED = {"time_step_rank", "num_key_value_heads", "head_dim"}
ALL_FORMATS = {**TRANSFORMERS, **STATE_SPACES}


@pytest.mark.parametrize("kind", REFERENCES)
def test_renaming_back_gives_the_same_names_and_tensors(kind):
    model = reference(kind)
    layout = format_of(model.config.to_dict())
    expected = {layout.aliases.get(n, n): t for n, t in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        del expected[layout.head]
    found = tensors_on_disk(load(model), layout)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kind", ["mamba", "mamba-untied-biased", "mamba2", "mamba2-limited"])
def test_renaming_back_to_the_original_layout_gives_the_same_names_and_tensors(kind, tmp_path):
    changes = {"ssm_cfg": original_layout(kind)[0]["ssm_cfg"]}
    if kind == "mamba-untied-biased":
        changes["ssm_cfg"] |= {"bias": True, "conv_bias": False}
    model = load(write_original(tmp_path, kind, **changes))
    layout = STATE_SPACES["Mamba2" if kind.startswith("mamba2") else "Mamba1"]
    expected = original_layout(kind)[1]
    if model.config.tie_embeddings:
        del expected["lm_head.weight"]
    found = tensors_on_disk(model, layout)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kind", REFERENCES)
def test_config_translates_both_ways(kind):
    disk = reference(kind).config.to_dict()
    layout = format_of(disk)
    ours = layout.config_from_disk(disk)
    again = layout.config_to_disk(ours)
    assert layout.config_from_disk(again) == ours
    assert format_of(again) is layout
    for word, value in again.items():
        if word == "rope_parameters":
            assert value == disk[word] | {k: v for k, v in value.items() if k not in disk[word]}
        elif word not in ("time_step_limit", "expand") and disk.get(word) is not None:
            assert value == disk[word], word


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("Mamba1", Mamba1Config(n_layers=2, d_model=8, d_inner=16, dt_rank=3, vocab_size=9)),
        (
            "Mamba2",
            Mamba2Config(
                n_layers=2,
                d_model=8,
                d_inner=16,
                n_heads=4,
                head_dim=4,
                n_groups=2,
                vocab_size=9,
                gated_norm="before_gate",
                dt_limit=(0.1, 2.0),
                tie_embeddings=False,
            ),
        ),
        (
            "Mamba2",
            Mamba2Config(
                n_layers=1,
                d_model=8,
                d_inner=8,
                n_heads=2,
                head_dim=4,
                vocab_size=9,
                gated_norm=None,
            ),
        ),
    ],
)
def test_original_config_translates_both_ways(kind, config):
    disk = STATE_SPACES[kind].config_to_disk(config)
    assert format_of(disk) is STATE_SPACES[kind]
    assert STATE_SPACES[kind].config_from_disk(disk) == config


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_those_of_transformers(name):
    theirs = getattr(transformers, name)()
    for word, value in DEFAULTS[name].items():
        if word in DERIVED:
            assert value is None or value == "auto" or value == getattr(theirs, word)
        elif word != "sliding_window":
            assert getattr(theirs, word) == value, word
    assert transformers.MistralConfig().sliding_window == 4096


def test_layer_defaults_are_those_of_the_original_code():
    mamba1 = STATE_SPACES["Mamba1"].config_from_disk({"d_model": 768, "n_layer": 24})
    assert (mamba1.d_inner, mamba1.dt_rank, mamba1.d_state, mamba1.d_conv) == (1536, 48, 16, 4)
    assert mamba1.vocab_size == 50280
    mamba2 = STATE_SPACES["Mamba2"].config_from_disk(
        {
            "d_model": 768,
            "n_layer": 24,
            "ssm_cfg": {"layer": "Mamba2"},
            "pad_vocab_size_multiple": 16,
        }
    )
    assert (mamba2.n_heads, mamba2.head_dim, mamba2.d_state, mamba2.n_groups) == (24, 64, 128, 1)
    assert mamba2.vocab_size == 50288
    assert (mamba2.gated_norm, mamba2.norm_scope) == ("after_gate", "group")


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_no_two_tensors_are_renamed_to_the_same_parameter(name):
    layout = ALL_FORMATS[name]
    ours = [n for v in layout.renames.values() for n in ([v] if isinstance(v, str) else v)]
    assert len(ours) == len(set(ours))
    assert layout.reshapes.keys() <= layout.renames.keys()
    assert set(layout.aliases.values()) <= layout.renames.keys()
    assert layout.renames[layout.head] == "unembedding"


@pytest.mark.parametrize(
    ("words", "theta", "turned"),
    [
        ({"rotary_pct": 0.5, "rotary_emb_base": 500.0}, 500.0, 8),
        ({"rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.5}}, 500.0, 8),
        ({}, 10000.0, 4),
    ],
)
def test_older_words_for_rotary_positions_are_read(words, theta, turned):
    disk = {"hidden_size": 32, "num_attention_heads": 2, **words}
    config = TRANSFORMERS["gpt_neox"].config_from_disk(disk)
    assert (config.rope_theta, config.rotary_dim) == (theta, turned)
    reference = dict(transformers.GPTNeoXConfig(**disk).rope_parameters or {})
    assert reference["rope_theta"] == theta
    assert reference["partial_rotary_factor"] * 16 == turned


def test_rotary_share_survives_rounding():
    """47 x (6 / 47) is 5.999... in floating point, and transformers takes the whole part."""
    config = TransformerConfig(
        n_layers=1,
        d_model=94,
        vocab_size=9,
        n_heads=2,
        n_kv_heads=2,
        head_dim=47,
        d_mlp=8,
        positions="rotary",
        max_positions=2048,
        rotary_dim=6,
    )
    layout = TRANSFORMERS["gpt_neox"]
    assert layout.config_from_disk(layout.config_to_disk(config)) == config


def test_older_llama_words_are_read():
    scaling = {
        "type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 2.0,
        "original_max_position_embeddings": 64,
    }
    config = TRANSFORMERS["llama"].config_from_disk({"rope_theta": 7.0, "rope_scaling": scaling})
    assert config.rope_theta == 7.0
    assert config.rope_scaling == Llama3Rope(
        factor=4.0, low_freq_factor=1.0, high_freq_factor=2.0, original_max_positions=64
    )


@pytest.mark.parametrize(("token", "ids"), [(None, ()), (7, (7,)), ([7, 9], (7, 9))])
def test_end_of_text_tokens_are_read_and_written(token, ids):
    layout = TRANSFORMERS["mamba"]
    config = layout.config_from_disk({"eos_token_id": token})
    assert config.eos_ids == ids
    assert layout.config_to_disk(config)["eos_token_id"] == token


def test_transformers_gated_norm_works_per_group():
    """What norm_scope = "group" rests on: the reference's own norm, against one written here."""
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    mixer = Mamba2Mixer(
        transformers.Mamba2Config(hidden_size=8, num_heads=4, head_dim=4, n_groups=2), 0
    )
    y, z = torch.randn(2, 3, 16).unbind(0)
    gated = (y * torch.nn.functional.silu(z)).view(3, 2, 8)
    expected = gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(mixer.norm(y, z), expected.view(3, 16) * mixer.norm.weight)


def test_a_hybrid_is_refused_with_the_reason():
    with pytest.raises(ModelError, match=r"layers \[3, 9\] are attention layers"):
        STATE_SPACES["Mamba1"].config_from_disk({"attn_layer_idx": [3, 9]})
