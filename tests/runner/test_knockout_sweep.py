"""A sweep of knockouts is a loop over `knockout`, on the same machinery: resumed, split among workers, and opened alike."""

import json
from pathlib import Path

import numpy as np
import pytest

from mambascope import knockout, load, open_results
from mambascope.data.fact_sets import read_facts
from mambascope.errors import ConfigError, OutputError, PromptError
from mambascope.results import save
from mambascope.results.schema import KNOCKOUT_SWEEP, conform, with_sources
from mambascope.runner.config import KnockoutSweep
from mambascope.runner.folder import SweepFolder
from mambascope.runner.opening import fact_rows
from mambascope.runner.sweep import sweep
from tests.forked import Forked
from tests.runner.small import (
    FEW,
    MANY,
    config_of,
    damage,
    finish,
    knockout_arguments,
    knockout_command,
    knockout_of,
    same,
    save_model,
    tables,
    torn,
    unfinished,
    until,
)


@pytest.fixture(scope="module")
def finished(model: Path, facts: Path, tmp_path_factory) -> Path:
    """A finished sweep."""
    return sweep(knockout_of(model, facts), tmp_path_factory.mktemp("sweep") / "out")


def taken(facts: Path):
    return [fact for fact in read_facts(facts).facts if fact.subject in fact.prompt]


def test_a_sweep_is_a_loop_over_knockout(model: Path, facts: Path, tmp_path: Path):
    found = open_results(sweep(knockout_of(model, facts, dtype="float64"), tmp_path / "out"))
    loaded, lacking = load(str(model), dtype="float64"), 0
    assert found["fact_id"].values.tolist() == [fact.fact_id for fact in taken(facts)]
    for fact in taken(facts):
        own = found.sel(fact_id=fact.fact_id)
        about = {"subject": fact.subject, "answer": fact.answer, "window": 1}
        for source in ("subject", "context"):
            try:
                wanted = knockout(loaded, fact.prompt, source=source, **about)
            except PromptError:
                lacking += 1
                assert np.isnan(own["score"].sel(source=source)).all()
                assert f"'{source}'" in own["missing"].item()
                continue
            for name in ("score", "change", "hit"):
                np.testing.assert_allclose(own[name].sel(source=source), wanted[name], atol=1e-8)
            for name in ("clean_score", "clean_rank", "answer", "top_answer"):
                assert own[name].item() == pytest.approx(wanted.attrs[name], abs=1e-9)
    assert lacking == 8
    assert (np.abs(found["change"].sel(source="subject")).max("start") > 0.01).mean() > 0.5


def test_the_results_are_labelled_and_tell_what_became_of_every_fact(
    finished: Path, tmp_path: Path
):
    found = open_results(finished)
    conform(found, KNOCKOUT_SWEEP)
    assert (found.attrs["method"], found.attrs["failed"]) == ("sweep.knockout", 1)
    assert found.sizes == {"fact_id": 24, "source": 2, "start": 2}
    assert json.loads(found.attrs["config"])["window"] == 1
    assert found["last_layer"].values.tolist() == [0, 1]
    rows = {row["fact_id"]: row for row in tables(finished)[1].to_pylist()}
    assert rows["lost"]["status"] == "failed"
    assert {row["status"] for name, row in rows.items() if name != "lost"} == {"cut"}
    save(found, tmp_path / "again")
    assert open_results(tmp_path / "again").identical(found)


def test_every_position_gives_tokens_and_roles(model: Path, facts: Path, tmp_path: Path):
    config = knockout_of(model, facts, knockout={"source": "each"})
    found = open_results(sweep(config, tmp_path / "out"))
    conform(with_sources(found), KNOCKOUT_SWEEP)
    loaded = load(str(model))
    for fact in taken(facts)[:5]:
        about = {"subject": fact.subject, "answer": fact.answer, "window": 1}
        wanted = knockout(loaded, fact.prompt, source="each", **about)
        own = found.sel(fact_id=fact.fact_id).isel(position=slice(0, wanted.sizes["position"]))
        np.testing.assert_allclose(own["score"], wanted["score"], atol=1e-5)
        for name in ("token", "role"):
            assert own[name].values.tolist() == wanted[name].values.tolist()
    ends = found["position"] >= found["length"]
    assert np.array_equal(np.isnan(found["score"].isel(start=0)), ends.T)
    assert (found["role"].values[ends.T.values] == "").all()


def test_only_what_is_missing_is_done_again_and_the_end_is_the_same(
    finished: Path, model: Path, facts: Path, tmp_path: Path, units
):
    out = tmp_path / "out"
    unfinished(knockout_of(model, facts), out)
    damage(out / "cut")
    with pytest.warns(UserWarning) as told:
        part = open_results(out)
    assert any("is not finished: 17 of 25 facts are done" in str(each.message) for each in told)
    assert part.sizes["fact_id"] == 16
    units.clear()
    sweep(knockout_of(model, facts), out)
    assert sorted(units) == [("cut", 1), ("cut", 3)]
    assert same(out, finished)
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock", "cells.parquet", "facts.parquet", "manifest.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_and_gone_on_with_two_workers_it_ends_as_one_that_never_was(
    model: Path, many: Path, tmp_path: Path
):
    whole, out = tmp_path / "whole", tmp_path / "out"
    finish(knockout_command(model, many, whole, batch=FEW))
    for wanted in (3, 20):
        running = Forked(knockout_arguments(model, many, out, batch=FEW))
        until(
            running, lambda wanted=wanted: sum(1 for _ in (out / "cut").glob("*.parquet")) >= wanted
        )
        running.kill()
        running.communicate()
        assert not (out / "cells.parquet").exists(), "it finished before it could be killed"
    finish(knockout_command(model, many, out, "--workers", "2", batch=FEW))
    assert same(out, whole)
    assert not torn(out)
    assert len(tables(out)[1]) == MANY + 1


def test_a_sweep_of_another_method_or_configuration_is_refused(
    finished: Path, model: Path, facts: Path
):
    with pytest.raises(
        OutputError, match=r"holds a result of 'sweep\.knockout', which one of 'sweep\.trace'"
    ):
        sweep(config_of(model, facts), finished)
    with pytest.raises(OutputError, match=r"\(knockout.mode: 'zero' there, 'no_decay' here\)"):
        sweep(knockout_of(model, facts, knockout={"mode": "no_decay"}), finished)


def test_what_is_wrong_with_every_fact_stops_at_once(model: Path, facts: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="does not fit into the 2 layers"):
        sweep(knockout_of(model, facts, knockout={"window": 3}), tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown source 'nobody'"):
        sweep(knockout_of(model, facts, knockout={"source": "nobody"}), tmp_path / "other")


def test_facts_that_have_none_of_the_sources_fail_and_are_told(
    model: Path, facts: Path, tmp_path: Path
):
    out = sweep(knockout_of(model, facts, knockout={"source": "context"}), tmp_path / "out")
    failed = {
        row["fact_id"]: row["reason"]
        for row in fact_rows(SweepFolder(out))
        if row["status"] == "failed"
    }
    assert len(failed) == 9
    assert sum("no token of the prompt is 'context'" in reason for reason in failed.values()) == 8


# ---- which facts, by the rank of their answer ----------------------------------------------------


@pytest.fixture(scope="module")
def ranked(model: Path, tmp_path_factory) -> tuple[Path, Path, dict[str, list[int]]]:
    """Facts whose answers have ranks 1 to 8 for one model, another model, and the ranks for both."""
    folder = tmp_path_factory.mktemp("ranked")
    other = save_model(folder / "other", seed=1)
    models = [load(str(model)), load(str(other))]
    prompt, rows, ranks = "The capital of France is", ["fact_id,prompt,subject,answer"], {}
    logits = [each.run(prompt, logits="last").logits[0] for each in models]
    texts = [models[0].tokenizer.decode([token]) for token in range(logits[0].shape[0])]
    order = [
        t
        for t in logits[0].argsort(descending=True).tolist()
        if texts[t][:1] == " " and texts[t].strip().isalpha()
    ]
    for number, token in enumerate(order[:40]):
        rows.append(f"f{number},{prompt},France,{texts[token].strip()}")
        ranks[f"f{number}"] = [1 + int((each > each[token]).sum()) for each in logits]
    (folder / "facts.csv").write_text("\n".join(rows))
    return folder / "facts.csv", other, ranks


def test_a_band_of_ranks_chooses_the_facts(ranked, model: Path, tmp_path: Path):
    facts, _, ranks = ranked
    last = sorted(own for own, _ in ranks.values())[3]
    config = knockout_of(model, facts, rank=f"2-{last}")
    out = sweep(config, tmp_path / "out")
    found = open_results(out)
    wanted = {name for name, (own, _) in ranks.items() if 2 <= own <= last}
    assert set(found["fact_id"].values.tolist()) == wanted
    assert {name: ranks[name][0] for name in wanted} == dict(
        zip(found["fact_id"].values.tolist(), found["clean_rank"].values.tolist(), strict=True)
    )
    skipped = [row for row in tables(out)[1].to_pylist() if row["status"] == "skipped"]
    assert len(skipped) == len(ranks) - len(wanted)
    row = skipped[0]
    assert f"has rank {ranks[row['fact_id']][0]} for the model, not 2 to {last}" in row["reason"]


def test_other_models_must_know_it_too(ranked, model: Path, tmp_path: Path):
    facts, _, ranks = ranked
    other = save_model(tmp_path / "second", seed=2)
    prompt = "The capital of France is"
    logits = load(str(other)).run(prompt, logits="last").logits[0]
    tokenizer = load(str(other)).tokenizer
    theirs = {}
    for fact in read_facts(facts).facts:
        (token,) = tokenizer.encode(" " + fact.answer, add_special_tokens=False)[:1]
        theirs[fact.fact_id] = 1 + int((logits > logits[token]).sum())
    most = sorted(max(ranks[name][0], theirs[name]) for name in ranks)[5]
    config = knockout_of(model, facts, rank=f"<={most}", also_known_by=(str(other),))
    out = sweep(config, tmp_path / "out")
    wanted = {name for name in ranks if ranks[name][0] <= most and theirs[name] <= most}
    assert set(open_results(out)["fact_id"].values.tolist()) == wanted
    reasons = [row["reason"] for row in tables(out)[1].to_pylist() if row["status"] == "skipped"]
    assert any(reason.startswith(f"{other}: ") for reason in reasons)
    assert any(reason.endswith(f"for the model, not 1 to {most}") for reason in reasons)


def test_ranks_that_do_not_go_together_are_refused():
    for options, message in [
        ({"only_known": True, "rank": "2-5"}, "only_known is rank 1"),
        ({"also_known_by": ("m",)}, "only_known or rank says"),
        ({"rank": "5-2"}, "ranks begin at 1 and ascend"),
        ({"rank": "top"}, "ranks are given as 1, <=3 or 2-5"),
    ]:
        with pytest.raises(ValueError, match=message):
            KnockoutSweep(facts="bundled", **options)
