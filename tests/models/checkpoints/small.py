"""Small random transformers models of every kind that is loaded, and what surrounds them."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    FalconMambaConfig,
    FalconMambaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from mambascope.models.checkpoints.state_spaces import STATE_SPACES
from mambascope.models.language_model import LanguageModel
from mambascope.models.save import tensors_on_disk
from tests.models.reference import shake

VOCAB = 53
MAMBA = dict(hidden_size=24, num_hidden_layers=2, vocab_size=VOCAB, state_size=5)
MAMBA2 = dict(**MAMBA, num_heads=8, head_dim=6)
TOKENS = dict(bos_token_id=None, eos_token_id=3, pad_token_id=None)
NEOX = dict(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=40,
    vocab_size=VOCAB,
)
LLAMA = dict(
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=40,
    vocab_size=VOCAB,
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    rope_theta=5e5,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
REFERENCES: dict[str, Callable[[], PreTrainedModel]] = {
    "mamba": lambda: MambaForCausalLM(MambaConfig(**MAMBA)),
    "mamba-untied-biased": lambda: MambaForCausalLM(
        MambaConfig(**MAMBA, tie_word_embeddings=False, use_bias=True, use_conv_bias=False)
    ),
    "falcon_mamba": lambda: FalconMambaForCausalLM(FalconMambaConfig(**MAMBA, mixer_rms_eps=1e-4)),
    # As the released Falcon-Mamba 7B: `expand` says 16, and `intermediate_size` overrules it.
    "falcon_mamba-narrow": lambda: FalconMambaForCausalLM(
        FalconMambaConfig(**MAMBA, expand=16, intermediate_size=36, tie_word_embeddings=False)
    ),
    "mamba2": lambda: Mamba2ForCausalLM(Mamba2Config(**MAMBA2, n_groups=2)),
    "mamba2-limited": lambda: Mamba2ForCausalLM(
        Mamba2Config(
            **MAMBA2, n_groups=1, time_step_limit=(0.01, float("inf")), tie_word_embeddings=True
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(n_embd=24, n_layer=2, n_head=3, n_positions=40, vocab_size=VOCAB, **TOKENS)
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**NEOX)),
    "gpt_neox-serial": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(
            **NEOX,
            use_parallel_residual=False,
            attention_bias=False,
            rope_parameters=dict(rope_type="default", rope_theta=3e3, partial_rotary_factor=0.5),
        )
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "llama-biased-tied": lambda: LlamaForCausalLM(
        LlamaConfig(
            **LLAMA,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
            head_dim=10,
            rope_parameters=LLAMA3_ROPE,
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**LLAMA)),
}
LENGTHS = (1, 4, 17)


def reference(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = REFERENCES[kind]()
    shake(model)
    return model


def prompts() -> list[list[int]]:
    random = torch.Generator().manual_seed(1)
    return [torch.randint(0, VOCAB, (n,), generator=random).tolist() for n in LENGTHS]


@torch.no_grad()
def reference_logits(model: PreTrainedModel) -> list[Tensor]:
    return [model(torch.tensor([ids])).logits[0] for ids in prompts()]


def assert_same_logits(model, expected: list[Tensor], atol: float = 3e-6) -> None:
    """Ours on the prompts, within float32 rounding of what was expected."""
    for ids, logits in zip(prompts(), expected, strict=True):
        torch.testing.assert_close(model.run(ids).logits[0], logits, atol=atol, rtol=1e-5)


def original_layout(kind: str) -> tuple[dict, dict[str, Tensor]]:
    """config.json and tensors of a Mamba in the layout of the original code, and as its authors name them."""
    model = reference(kind)
    c = model.config
    layer = dict(d_state=c.state_size)
    if c.model_type == "mamba2":
        layer |= dict(layer="Mamba2", headdim=c.head_dim, ngroups=c.n_groups)
    config = dict(
        d_model=c.hidden_size,
        d_intermediate=0,
        n_layer=c.num_hidden_layers,
        vocab_size=VOCAB - 2,
        ssm_cfg=layer,
        attn_layer_idx=[],
        attn_cfg={},
        rms_norm=True,
        residual_in_fp32=True,
        fused_add_norm=True,
        pad_vocab_size_multiple=VOCAB,
        tie_embeddings=c.tie_word_embeddings,
    )
    tensors = {
        name.replace("backbone.embeddings.", "backbone.embedding."): tensor.clone()
        for name, tensor in model.state_dict().items()
    }
    return config, tensors


def write_original(folder: Path, kind: str, **changes) -> Path:
    config, tensors = original_layout(kind)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config | changes))
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def save_as_state_spaces(model: LanguageModel, folder: Path) -> Path:
    """A Mamba-1 of ours in the layout of the original code, which has no place for a tokenizer."""
    layout = STATE_SPACES["Mamba1"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(layout.config_to_disk(model.config)))
    torch.save(tensors_on_disk(model, layout), folder / "pytorch_model.bin")
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with digits split, which no model's usual tokenizer does in this way."""
    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    inner.train_from_iterator(["The capital of France is Paris. 1234 in 1234"] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<end>", bos_token="<end>"
    )
