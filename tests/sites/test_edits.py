"""Edits: what they do to the model equals what the definition of the recurrence says."""

import pytest
import torch
from transformers import Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

import mambascope as ms
from mambascope.errors import SiteError
from tests.models.reference import shake

SMALL = dict(hidden_size=16, num_hidden_layers=3, vocab_size=31)
IDS = torch.arange(9)[None] * 3 + 1


@pytest.fixture(scope="module", params=["mamba1", "mamba2"])
def model(request):
    torch.manual_seed(1)
    if request.param == "mamba1":
        reference = MambaForCausalLM(MambaConfig(**SMALL, state_size=4))
    else:
        config = Mamba2Config(**SMALL, num_heads=4, head_dim=8, state_size=6, n_groups=2)
        reference = Mamba2ForCausalLM(config)
    return ms.load(shake(reference), dtype="float64")


def every_layered_site(model):
    return [name for name, site in model.sites.items() if site.layered]


def test_replacing_any_site_by_its_own_value_changes_nothing(model):
    plain = model.run(IDS, record=list(model.sites))
    for name in every_layered_site(model):
        value = plain[name, 1][0]
        edited = model.run(IDS, edits=[ms.Edit(site=name, layers=1, value=value)])
        assert torch.allclose(edited.logits, plain.logits, atol=1e-9), name


def test_an_edit_changes_no_earlier_position_and_no_lower_layer(model):
    plain = model.run(IDS, record=["resid_post"])
    for name in every_layered_site(model):
        edit = ms.Edit(site=name, layers=1, positions=4, op="scale", value=3.0)
        run = model.run(IDS, edits=[edit], record=["resid_post"])
        assert torch.equal(run["resid_post", 0], plain["resid_post", 0]), name
        first = 5 if name == "conv_carry" else 4
        assert torch.allclose(run.logits[:, :first], plain.logits[:, :first], atol=1e-12), name
        assert not torch.allclose(run.logits[:, first], plain.logits[:, first], atol=1e-7), name


def test_an_edited_state_is_read_at_its_own_position_and_flows_on(model):
    plain = model.run(IDS, record=["state", "C", "scan_out", "dt"])
    run = model.run(
        IDS,
        edits=[ms.Edit(site="state", layers=1, positions=3, op="zero")],
        record=["state", "scan_out", "skip"],
    )
    assert torch.equal(run["state", 1][0, 3], torch.zeros_like(run["state", 1][0, 3]))
    assert torch.allclose(run["scan_out", 1][0, 3], run["skip", 1][0, 3], atol=1e-12)
    mixer = model.blocks[1].mixer
    A = -torch.exp(mixer.A_log)
    dt = plain["dt", 1][0]
    decay = torch.exp(dt[..., None] * A) if A.ndim == 2 else torch.exp(dt * A)[..., None, None]
    lost = plain["state", 1][0, 3]
    for t in range(4, 9):
        lost = decay[t] * lost
        assert torch.allclose(run["state", 1][0, t], plain["state", 1][0, t] - lost, atol=1e-10)


def test_a_write_edit_adds_its_change_to_the_state(model):
    plain = model.run(IDS, record=["state", "write"])
    edit = ms.Edit(site="write", layers=0, positions=[2, 5], op="zero")
    run = model.run(IDS, edits=[edit], record=["state", "write"])
    gone = plain["state", 0][0, 2] - plain["write", 0][0, 2]
    assert torch.allclose(run["state", 0][0, 2], gone, atol=1e-12)
    assert torch.equal(run["write", 0][0, 5], torch.zeros_like(gone))


def test_a_conv_carry_edit_equals_editing_the_inputs_that_later_positions_see(model):
    plain = model.run(IDS, record=["conv_carry", "u", "conv_in"])
    edit = ms.Edit(site="conv_carry", layers=1, positions=3, op="zero")
    run = model.run(IDS, edits=[edit], record=["u"])
    hidden = ms.Edit(site="conv_in", layers=1, positions=[1, 2, 3], op="zero")
    other = model.run(IDS, edits=[hidden], record=["u"])
    assert torch.allclose(run["u", 1][0, :4], plain["u", 1][0, :4], atol=1e-12)
    assert torch.allclose(run["u", 1][0, 4:], other["u", 1][0, 4:], atol=1e-12)


def test_edits_apply_in_the_order_given(model):
    ones = ms.Edit(site="resid_pre", layers=1, op="replace", value=1.0)
    double = ms.Edit(site="resid_pre", layers=1, op="scale", value=2.0)
    run = model.run(IDS, edits=[ones, double], record=["resid_pre"])
    assert (run["resid_pre", 1] == 2).all()
    run = model.run(IDS, edits=[double, ones], record=["resid_pre"])
    assert (run["resid_pre", 1] == 1).all()


def test_values_broadcast_in_both_directions(model):
    noisy = torch.randn(4, 2, 16, dtype=torch.float64)
    add = ms.Edit(site="embed", op="add", positions=[1, 2], value=noisy)
    clean = model.run(IDS, record=["resid_post", "embed"])
    run = model.run(IDS, edits=[add], record=["embed"])
    assert run.logits.shape[0] == 4
    assert torch.allclose(run["embed"][:, [1, 2]], clean["embed"][:, [1, 2]] + noisy)
    restore = ms.Edit(site="resid_post", layers=2, value=clean["resid_post", 2])
    assert torch.allclose(
        model.run(IDS, edits=[add, restore]).logits, clean.logits.expand(4, -1, -1)
    )


def test_rows_and_positions_of_their_own(model):
    rows = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    edit = ms.Edit(site="resid_pre", layers=0, rows=[0, 2], positions=[[1], [-1]], op="zero")
    run = model.run(rows, edits=[edit], record=["resid_pre"])
    zero = (run["resid_pre", 0] == 0).all(-1)
    assert zero.tolist() == [[False, True, False, False], [False] * 4, [False, False, False, True]]


def test_units_pick_parts_of_the_axes(model):
    edit = ms.Edit(site="state", layers=0, positions=2, op="zero", units=([0, 3], slice(1, 3)))
    plain = model.run(IDS, record=["state"])["state", 0][0, 2]
    changed = model.run(IDS, edits=[edit], record=["state"])["state", 0][0, 2] != plain
    assert changed[[0, 3], 1:3].all()
    assert changed.sum() == changed[[0, 3], 1:3].numel()


def test_a_function_gets_the_old_values(model):
    edit = ms.Edit(site="gate", layers=[0, 2], op="apply", value=lambda old: old.clamp(min=0))
    run = model.run(IDS, edits=[edit], record=["gate"])
    assert (run["gate", 0] >= 0).all() and (run["gate", 1] < 0).any()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (dict(site="hidden"), "this model has: embed"),
        (dict(site="gate", layers=7, op="zero"), "layers 0 to 2"),
        (dict(site="gate", positions=9, op="zero"), "positions 0 to 8"),
        (dict(site="gate", value=torch.zeros(5)), "must broadcast against"),
        (dict(site="embed", layers=0, op="zero"), "exists once per model"),
        (dict(site="gate", op="zero", units=999), "out of range"),
        (dict(site="gate", op="zero", positions=[]), "touches none"),
        (dict(site="gate", op="melt"), "an edit can: replace"),
        (dict(site="gate", op="apply", value=3.0), "needs a function"),
        (dict(site="gate", op="apply", value=lambda x: x[..., :1]), "must return shape"),
    ],
)
def test_a_bad_edit_says_what_would_be_right(model, edit, words):
    with pytest.raises(SiteError, match=words):
        model.run(IDS, edits=[ms.Edit(**{"value": 0.0} | edit if "op" not in edit else edit)])


def test_what_was_not_recorded_is_named(model):
    run = model.run(IDS, record=[("state", [0, 2])])
    with pytest.raises(SiteError, match=r"state at layers \[0, 2\]"):
        run["state", 1]


def test_a_recorded_site_without_its_layer_asks_for_one(model):
    run = model.run(IDS, record=["state"])
    with pytest.raises(SiteError, match=r"'state' exists once per layer, so give one too"):
        run["state"]


def test_a_record_that_is_no_list_is_not_read_letter_by_letter(model):
    with pytest.raises(SiteError, match=r"record is a list of sites, such as \['state'\]"):
        model.run(IDS, record="state")


def test_gradients_flow_to_an_edits_value(model):
    value = torch.zeros(16, dtype=torch.float64, requires_grad=True)
    run = model.run(IDS, edits=[ms.Edit(site="resid_pre", layers=1, op="add", value=value)])
    run.logits[0, -1, 3].backward()
    step = 1e-6
    for unit in (0, 7):
        bumped = torch.zeros(16, dtype=torch.float64)
        bumped[unit] = step
        up = model.run(IDS, edits=[ms.Edit(site="resid_pre", layers=1, op="add", value=bumped)])
        down = model.run(IDS, edits=[ms.Edit(site="resid_pre", layers=1, op="add", value=-bumped)])
        slope = (up.logits[0, -1, 3] - down.logits[0, -1, 3]) / (2 * step)
        assert torch.allclose(value.grad[unit], slope, rtol=1e-4)
