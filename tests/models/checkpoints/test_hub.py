"""Hub models: out of the shared cache without a network, and each way in which the hub refuses in one sentence."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import errors

from mambascope.errors import ModelError
from mambascope.models.checkpoints.hub import download
from mambascope.models.load import load
from tests.models.checkpoints.small import (
    assert_same_logits,
    reference,
    reference_logits,
    write_original,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB_ID = "someone/small-mamba"


def cache(home: Path, folder: Path, hub_id: str = HUB_ID) -> None:
    """Put a model's files into a hub cache, as a download lays them out."""
    repo = home / "hub" / f"models--{hub_id.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
    (repo / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repo / "blobs" / f"{number:040x}"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))


@pytest.mark.parametrize("layout", ["transformers", "original"])
def test_a_cached_model_loads_without_a_network(layout, tmp_path, monkeypatch):
    """HF_HOME and HF_HUB_OFFLINE are read when huggingface_hub is imported, hence the constants here."""
    theirs = reference("mamba")
    if layout == "original":
        write_original(tmp_path / "model", "mamba")
    else:
        theirs.save_pretrained(tmp_path / "model")
    cache(tmp_path / "home", tmp_path / "model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    model = load(HUB_ID)
    assert model.name == HUB_ID
    assert_same_logits(model, reference_logits(theirs))


RUN = "import sys; from mambascope.models.load import load; print(load(sys.argv[1]).config.d_model)"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_the_environment_is_honoured(words, tmp_path):
    reference("mamba").save_pretrained(tmp_path / "model")
    cache(tmp_path / "home", tmp_path / "model")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home")} | words

    def run(hub_id: str) -> Any:
        command = [sys.executable, "-c", RUN, hub_id]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert run(HUB_ID).stdout.split()[-1:] == ["24"]
    message = run("someone/else").stderr.strip().splitlines()[-1]
    assert "'someone/else' is not in the cache and the hub cannot be reached; go online" in message


def answered(kind: type[Exception], status: int) -> Exception:
    request = httpx2.Request("GET", "https://hub.example")
    return kind("Many\nlines.", response=httpx2.Response(status, request=request))


REFUSALS = {
    "gated": (
        answered(errors.GatedRepoError, 403),
        "is gated: accept its conditions on https://huggingface.co/someone/small-mamba and set HF_TOKEN",
    ),
    "unknown": (
        answered(errors.RepositoryNotFoundError, 404),
        "the hub has no model 'someone/small-mamba'; check the name, or set HF_TOKEN if it is private",
    ),
    "bad token": (
        answered(errors.HfHubHTTPError, 401),
        "the hub does not accept the token for 'someone/small-mamba'; set HF_TOKEN to a valid one",
    ),
    "hub down": (answered(errors.HfHubHTTPError, 503), "the hub answered 503 for the model"),
    "no network": (
        errors.LocalEntryNotFoundError("Many\nlines."),
        "is not in the cache and the hub cannot be reached; go online",
    ),
    "cut off": (ConnectionError("broken pipe"), r"could not be downloaded \(broken pipe\)"),
    "disk full": (
        OSError(28, "No space left on device"),
        "could not be downloaded .*No space left",
    ),
    "no id": (errors.HFValidationError("Many\nlines."), "can be no hub id"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_said_in_one_sentence(what, monkeypatch):
    error, expected = REFUSALS[what]

    def refuse(*args: Any, **kwargs: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=expected) as caught:
        load(HUB_ID)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "wanted", "unwanted"),
    [
        (
            ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "onnx/model.safetensors"],
            {"config.json", "model.safetensors", "tokenizer.json"},
            {"pytorch_model.bin", "onnx/model.safetensors"},
        ),
        (
            ["pytorch_model.bin", "consolidated.safetensors", "README.md"],
            {"config.json", "pytorch_model.bin"},
            {"consolidated.safetensors", "README.md"},
        ),
        (
            [
                "pytorch_model.bin.index.json",
                "pytorch_model-00001-of-00002.bin",
                "training_args.bin",
            ],
            {"pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"},
            {"training_args.bin"},
        ),
    ],
)
def test_weights_are_taken_once_and_nothing_else(files, wanted, unwanted, tmp_path, monkeypatch):
    """The patterns that are asked for, applied to a repository by huggingface_hub's own filter."""

    def fetch(hub_id: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        matched = huggingface_hub.utils.filter_repo_objects(
            ["config.json", *files], allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        for name in matched:
            (tmp_path / name).write_bytes(b"")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert download(HUB_ID) == tmp_path
    found = {path.name for path in tmp_path.iterdir()}
    assert wanted <= found
    assert not unwanted & found
