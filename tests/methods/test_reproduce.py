"""`mambascope reproduce mamba-knockout` on random weights against the published method written out by loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedTokenizerFast,
)

from mambascope.cli.main import run
from mambascope.data.tokenizer import load_tokenizer
from mambascope.errors import DataError
from mambascope.interventions.prompt import answer_token, read_prompt
from mambascope.methods.knockout.published import read_published
from mambascope.models.config import Mamba1Config
from mambascope.models.language_model import LanguageModel
from tests.methods.published_knockout import measure, roles
from tests.models.reference import shake

DEPTH, WINDOW = 4, 3
PROMPTS = {
    "7": ("France has the capital", "France"),
    "21": ("The native language of Victor Hugo is", " Victor Hugo"),
    "140": ("Mount Everest, in the continent of", "Mount Everest"),
}
SETTINGS = [
    ("last", "first", "ALL"),
    ("last", "last", "ALL"),
    ("last", "relation", "ALL"),
    ("last", "subject", "ALL"),
    ("last", "subject", "FAST_DECAY"),
    ("last", "subject", "SLOW_DECAY"),
    ("relation", "context", "ALL"),
    ("relation", "relation", "ALL"),
    ("relation", "subject", "ALL"),
    ("subject", "context", "ALL"),
    ("subject", "subject", "ALL"),
]
SEEDS = {"mamba1": 2, "mamba2": 9}  # their answers are tokens that the tokenizer gives back
WITHOUT = {"mamba1": "mamba2-130m", "mamba2": "mamba1-130m"}


def random_model(name):
    torch.manual_seed(SEEDS[name])
    shared = {"hidden_size": 32, "num_hidden_layers": DEPTH, "vocab_size": len(load_tokenizer())}
    if name == "mamba1":
        model = MambaForCausalLM(MambaConfig(**shared, state_size=4))
    else:
        heads = {"num_heads": 8, "head_dim": 8, "n_groups": 1}
        config = Mamba2Config(**shared, **heads, state_size=6, tie_word_embeddings=True)
        model = Mamba2ForCausalLM(config)
    shake(model)
    with torch.no_grad():  # a word of its own as the answer, with a probability that can fall
        model.backbone.norm_f.weight.mul_(8)
        for layer in model.backbone.layers:
            layer.mixer.out_proj.weight.mul_(4)
    return model


@pytest.fixture(scope="module", params=["mamba1", "mamba2"])
def case(request, tmp_path_factory):
    """A model's folder in the layout of transformers, and the numbers that loops give."""
    folder, tokenizer = tmp_path_factory.mktemp(request.param), load_tokenizer()
    model = random_model(request.param)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    numbers = measure(model, tokenizer, PROMPTS, SETTINGS, WINDOW)
    other = {"prompts": numbers["prompts"], "knockouts": numbers["knockouts"][:1]}
    models = {f"{request.param}-130m": numbers, WITHOUT[request.param]: other}
    (folder / "reference.json").write_text(json.dumps({"source": "loops", "models": models}))
    return folder, request.param


def reproduce(folder, *options):
    known = ["--model", str(folder / "model"), "--reference", str(folder / "reference.json")]
    return run(["reproduce", "mamba-knockout", *known, *options])


def altered(case, change):
    """The case's reference file, changed, beside the same model."""
    folder, name = case
    content = json.loads((folder / "reference.json").read_text())
    change(content["models"][f"{name}-130m"])
    path = folder / "altered.json"
    path.write_text(json.dumps(content))
    return ["--reference", str(path)]


def test_all_settings_give_the_numbers_of_the_loops(case, capsys):
    assert reproduce(case[0], "--json", "--tolerance", "2e-5") == 0
    told = json.loads(capsys.readouterr().out)
    published, measured = np.array(told["published"]), np.array(told["measured"])
    assert published.shape == (len(SETTINGS), len(PROMPTS), DEPTH - WINDOW + 1)
    assert np.abs(published - measured).max() == pytest.approx(
        max(row["largest_difference"] for row in told["settings"][2:])
    )
    assert told["agrees"] and told["largest_difference"] < 2e-5 and told["beyond"] == 0
    assert told["features_kept"][4:6] == ["FAST_DECAY", "SLOW_DECAY"]
    assert told["features_cut"][4:6] == ["not fast", "not slow"]
    # Every setting moves the answer by far more than that, and no two settings do the same.
    moved = np.abs(published - np.array(told["clean_published"])[None, :, None]).max((1, 2))
    assert (moved > 2e-4).all(), moved
    series = published.reshape(len(SETTINGS), -1)
    apart = np.abs(series[:, None] - series[None]).max(-1)
    assert apart[~np.eye(len(SETTINGS), dtype=bool)].min() > 2e-4


def test_a_source_that_a_prompt_lacks_cuts_nothing(case, capsys):
    assert reproduce(case[0], "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (context,) = (
        n for n, cut in enumerate(zip(told["target"], told["source"], strict=True))
        if cut == ("subject", "context")
    )  # fmt: skip
    measured, clean = np.array(told["measured"])[context], np.array(told["clean_measured"])
    assert told["prompt"] == ["7", "21", "140"]
    assert (measured[[0, 2]] == clean[[0, 2], None]).all()
    assert (measured[1] != clean[1]).all()


def test_the_table_says_where_the_largest_difference_is(case, capsys):
    def change(numbers):
        numbers["knockouts"][3]["answer_probability_by_window"]["140"][1] += 0.25

    assert reproduce(case[0], *altered(case, change)) == 1
    printed = capsys.readouterr().out
    assert "\nrelation > relation  all " in printed  # whole, in 80 columns
    (line,) = (
        line for line in printed.splitlines() if line.startswith("subject > last") and "all" in line
    )
    assert line.split()[-3:] == ["2.5e-01", "140", "1"]
    assert "largest difference 2.5e-01 among" in printed
    assert "1 beyond the tolerance of 0.001" in printed
    assert "without a knockout differ" not in printed


def test_other_weights_are_told_from_a_wrong_knockout(case, capsys):
    def change(numbers):
        numbers["prompts"]["7"]["answer_probability"] += 0.1

    assert reproduce(case[0], *altered(case, change)) == 1
    assert "without a knockout differ already" in capsys.readouterr().out


def test_within_a_wider_tolerance_the_same_numbers_agree(case, capsys):
    def change(numbers):
        numbers["knockouts"][0]["answer_probability_by_window"]["7"][0] += 0.01

    options = altered(case, change)
    assert reproduce(case[0], *options) == 1
    assert reproduce(case[0], *options, "--tolerance", "0.02") == 0
    assert "all within the tolerance of 0.02" in capsys.readouterr().out


# Of the two models only this one comes in that layout.
@pytest.mark.parametrize("case", ["mamba2"], indirect=True)
def test_weights_in_the_original_layout_need_a_tokenizer_beside_them(case, tmp_path: Path, capsys):
    folder, name = case
    model = random_model(name)
    layer = {"layer": "Mamba2", "d_state": 6, "headdim": 8}
    config = {
        "d_model": 32, "n_layer": DEPTH, "vocab_size": len(load_tokenizer()), "ssm_cfg": layer,
        "pad_vocab_size_multiple": 1, "tie_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    renamed = {
        k.replace("embeddings", "embedding"): v.clone() for k, v in model.state_dict().items()
    }
    torch.save(renamed, tmp_path / "pytorch_model.bin")
    assert reproduce(folder, "--model", str(tmp_path)) == 2
    assert "no tokenizer" in capsys.readouterr().err
    assert reproduce(folder, "--model", str(tmp_path), "--tokenizer", str(folder / "model")) == 0


def broken(folder: Path, change) -> str:
    content = json.loads((folder / "reference.json").read_text())
    change(content)
    (folder / "broken.json").write_text(json.dumps(content))
    return str(folder / "broken.json")


MISTAKES = {
    "no such model": (["--model", "state-spaces/mamba-130m-hf"], "is not in the cache and the hub"),
    "depth": (["--model", "atlas-mamba1"], "is a mamba1 of 10 layers"),
    "transformer": (["--model", "atlas-transformer"], "is a transformer of"),
    "no file": (["--reference", "nowhere.json"], "cannot read nowhere.json"),
    "tolerance": (["--tolerance", "0"], "--tolerance: a probability above 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_reproduced_is_one_line(mistake, case, capsys):
    options, says = MISTAKES[mistake]
    assert reproduce(case[0], *options) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("mambascope: ") and says in printed.err


def drop_series(models):
    for numbers in models["models"].values():
        numbers["knockouts"][0]["answer_probability_by_window"].pop("21")


def bare_answer(content):
    content["models"]["mamba2-130m"]["prompts"]["7"]["answer"] = "Paris"


BROKEN = {
    "answer": (bare_answer, "models.mamba2-130m.prompts.7.answer"),
    "key": (lambda c: c.update(extra=1), "extra"),
    "mask": (lambda c: c["models"]["mamba1-130m"]["knockouts"][0].update(features_kept="NONE"), "NONE"),
    "series": (drop_series, "a series for each prompt"),
    "window": (
        lambda c: c["models"]["mamba1-130m"]["knockouts"].append(
            c["models"]["mamba1-130m"]["knockouts"][0] | {"window": 2}
        ),
        "the same window",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_reference_that_is_none_is_one_line(name, case, capsys):
    change, says = BROKEN[name]
    assert reproduce(case[0], "--reference", broken(case[0], change)) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and says in printed


def test_a_subject_that_is_not_in_its_prompt_names_the_prompt(case, capsys):
    def change(numbers):
        numbers["prompts"]["21"]["subject"] = "Emile Zola"

    assert reproduce(case[0], *altered(case, change)) == 2
    assert "prompt 21: the subject 'Emile Zola' does not occur" in capsys.readouterr().err


def test_two_sets_of_numbers_for_one_shape_are_refused(case, capsys):
    folder, name = case
    content = json.loads((folder / "reference.json").read_text())
    content["models"][f"{name}-other"] = content["models"][f"{name}-130m"]
    (folder / "two.json").write_text(json.dumps(content))
    assert reproduce(folder, "--reference", str(folder / "two.json")) == 2
    assert "2 sets of numbers where one is needed" in capsys.readouterr().err


def test_the_numbers_that_come_with_the_package_are_all_there():
    published = read_published()
    assert [*published.models] == ["mamba1-130m", "mamba2-130m"]
    for numbers in published.models.values():
        assert (len(numbers.prompts), len(numbers.knockouts)) == (8, 11)
        assert (numbers.n_layers, numbers.window, numbers.starts) == (24, 15, 10)
        assert {(k.target, k.source, k.features_kept) for k in numbers.knockouts} == {*SETTINGS}
    first = published.models["mamba1-130m"].knockouts[0]
    assert first.answer_probability_by_window["53"][:2] == (0.388616, 0.417023)


def test_a_file_that_is_no_text_is_a_data_error(tmp_path: Path):
    path = tmp_path / "bytes.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text in UTF-8"):
        read_published(path)


@pytest.mark.real_data
def test_the_published_prompts_are_read_as_the_published_code_reads_them(real_data: Path):
    path = real_data / "tokenizers" / "gpt-neox-20b.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    sizes = {"n_layers": 1, "d_model": 8, "d_inner": 16, "dt_rank": 1}
    model = LanguageModel(Mamba1Config(vocab_size=50280, **sizes), tokenizer)
    for numbers in read_published().models.values():
        for prompt in numbers.prompts.values():
            ids, at = roles(tokenizer, prompt.prompt, prompt.subject)
            asked = read_prompt(model, prompt.prompt, prompt.subject)
            assert (asked.ids, [*range(asked.start, asked.stop)]) == (ids, at["subject"])
            answer = answer_token(model, prompt.prompt, prompt.answer, asked.ids)
            assert tokenizer.decode([answer]) == prompt.answer == prompt.top5[0][0]
