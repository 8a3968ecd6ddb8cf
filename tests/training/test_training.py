"""The pieces of a training: loss, initial weights, decay groups, recall, configuration errors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mambascope.data.tokenizer import load_tokenizer
from mambascope.errors import ConfigError, OutputError
from mambascope.models.config import Mamba1Config, Mamba2Config
from mambascope.models.language_model import LanguageModel
from mambascope.sites import Segments
from mambascope.training.config import read_train_config
from mambascope.training.init import B_C_GAIN, initialise
from mambascope.training.loss import next_token_loss
from mambascope.training.recall import measure_recall
from mambascope.training.train import train

MODEL = "name: x\nmodel: {architecture: mamba1, n_layers: 1, d_model: 8, d_inner: 16, dt_rank: 1, vocab_size: 9}"
CONFIGS = Path(__file__).parents[2] / "configs"


def small_model(seed=0, **changes):
    config = Mamba1Config(n_layers=2, d_model=16, d_inner=32, dt_rank=2, vocab_size=4096, **changes)
    model = LanguageModel(config, load_tokenizer())
    initialise(model, seed)
    return model.eval()


def test_the_loss_is_the_mean_over_tokens_that_have_a_next_one():
    logits = torch.randn(7, 5, dtype=torch.float64)
    ids = torch.tensor([1, 2, 0, 4, 3, 3, 1])
    log_probs = logits.float().log_softmax(-1)
    by_hand = -np.mean([log_probs[t, ids[t + 1]] for t in (0, 1, 3, 4, 5)])
    loss = next_token_loss(logits, ids, Segments.of([3, 4]))
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_weights_make_the_loss_a_weighted_mean():
    logits = torch.randn(5, 4)
    ids = torch.tensor([1, 2, 0, 3, 3])
    weights = torch.tensor([9.0, 4.0, 1.0, 7.0, 2.0])
    nll = -logits.log_softmax(-1)
    by_hand = (4 * nll[0, 2] + 1 * nll[1, 0] + 2 * nll[3, 3]) / 7
    loss = next_token_loss(logits, ids, Segments.of([3, 2]), weights)
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_the_seed_fixes_the_initial_weights_and_none_is_left_undrawn():
    first, again, other = (dict(small_model(s).named_parameters()) for s in (0, 0, 1))
    for name, weight in first.items():
        assert weight.isfinite().all()
        assert torch.equal(weight, again[name])
    assert not torch.equal(
        first["blocks.0.mixer.in_proj.weight"], other["blocks.0.mixer.in_proj.weight"]
    )


def test_initial_time_steps_lie_in_the_papers_range():
    model = small_model()
    dt = torch.nn.functional.softplus(model.blocks[0].mixer.dt_proj.bias)
    assert dt.min() >= 0.001 and dt.max() <= 0.1
    config = Mamba2Config(n_layers=1, d_model=16, d_inner=32, n_heads=2, head_dim=16, vocab_size=8)
    model = LanguageModel(config)
    initialise(model, 0)
    dt = torch.nn.functional.softplus(model.blocks[0].mixer.dt_bias)
    assert dt.min() >= 0.001 and dt.max() <= 0.1
    assert (
        model.blocks[0].mixer.A_log.exp().min() >= 1
        and model.blocks[0].mixer.A_log.exp().max() <= 16
    )


def test_what_b_and_c_are_made_by_is_drawn_wider_than_what_dt_is_made_by():
    mixer = small_model().blocks[0].mixer
    bound, rank = mixer.config.d_inner**-0.5, mixer.config.dt_rank
    assert mixer.x_proj.weight[:rank].abs().max() <= bound
    spread = mixer.x_proj.weight[rank:].abs().max() / bound
    assert 0.9 * B_C_GAIN < spread <= B_C_GAIN


def test_recall_agrees_with_greedy_generation():
    model = small_model(tie_embeddings=False)
    prompts = ["The capital of France is", "Question: Who? Answer:", "one two three"]
    made = [model.generate(p, max_new_tokens=4) for p in prompts]
    right = [(p, m) for p, m in zip(prompts, made, strict=True)]
    encode = model.tokenizer.encode
    for prompt, text in right:
        continuation = encode(f" {text.strip()}.")
        expected = (
            model.generate([encode(prompt)], max_new_tokens=len(continuation))[0] == continuation
        )
        recall = measure_recall(model, [(prompt, text.strip())])
        assert recall.exact[0] == expected


def test_recall_finds_the_answers_of_a_model_that_only_ever_says_one_word():
    model = small_model(tie_embeddings=False)
    word, stop = model.tokenizer.encode(" Paris")[0], model.tokenizer.encode(".")[0]
    with torch.no_grad():
        model.unembedding.zero_()
        for block in model.blocks:
            block.mixer.out_proj.weight.zero_()
        model.embedding.zero_()
        model.embedding[:, 0] = 1.0
        model.embedding[word, 0] = -1.0
        model.unembedding[word, 0] = 1.0
        model.unembedding[stop, 0] = -1.0
    recall = measure_recall(
        model, [("The capital of France is", "Paris"), ("The capital of Italy is", "Rome")]
    )
    assert recall.first_token.tolist() == [True, False]
    assert recall.exact.tolist() == [True, False]


@pytest.mark.parametrize("name", ["atlas-mamba1", "atlas-mamba2", "atlas-transformer"])
def test_the_atlas_models_are_siblings(name):
    config, first = (read_train_config(CONFIGS / f"{n}.yaml") for n in (name, "atlas-mamba1"))
    own = {"name", "model", "float32_matmul_precision"}
    assert config.model_dump(exclude=own) == first.model_dump(exclude=own)
    counts = [sum(p.numel() for p in LanguageModel(c.model).parameters()) for c in (config, first)]
    assert 2_000_000 <= counts[0] <= 3_500_000
    assert counts[0] == pytest.approx(counts[1], rel=0.02)
    assert 10 <= config.model.n_layers <= 12


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\nmodel: {}", "model"),
        (f"{MODEL}\ncurriculum: []", "curriculum"),
        (f"{MODEL}\ncurriculum: [{{steps: 3, mix: {{rumours: 1}}}}]", "rumours"),
        ("[1, 2]", "must hold a mapping"),
        ("name: [", "not valid YAML"),
        ("name: \udcff", "not valid YAML"),
        ("name: x\nspeed: 3\nmodel: {architecture: rnn}", "model"),
    ],
)
def test_a_bad_configuration_names_the_field(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError, match=words):
        read_train_config(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_train_config(tmp_path / "missing.yaml")


def test_a_folder_of_another_configuration_is_refused(tmp_path):
    text = (CONFIGS / "atlas-mamba1.yaml").read_text() + f"out: {tmp_path}\n"
    path = tmp_path / "config.yaml"
    path.write_text(text)
    (tmp_path / "atlas-mamba1").mkdir()
    other = read_train_config(path).model_copy(update={"learning_rate": 1.0})
    (tmp_path / "atlas-mamba1/config.json").write_text(other.model_dump_json())
    with pytest.raises(ConfigError, match="learning_rate"):
        train(path)


def test_a_folder_whose_record_is_damaged_is_said(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text((CONFIGS / "atlas-mamba1.yaml").read_text() + f"out: {tmp_path}\n")
    (tmp_path / "atlas-mamba1").mkdir()
    (tmp_path / "atlas-mamba1/config.json").write_text("")
    with pytest.raises(OutputError, match="does not say what was trained there"):
        train(path)


def test_a_run_that_is_killed_while_it_claims_its_folder_leaves_no_record(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    path.write_text((CONFIGS / "atlas-mamba1.yaml").read_text() + f"out: {tmp_path}\n")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        train(path)
    assert not (tmp_path / "atlas-mamba1/config.json").exists()
