"""One source in several prompts: what a layer's mixer gives out at the target with each coalition of routes source-free.

The source-free run cuts source -> target (route both) in every layer. What enters layer l in it is the stream of a target that
has read nothing of the source in the layers below; its mixer's output is that of a target that does not read it here either.
A coalition gives its routes the values of that target, and leaves the residual as it is:

    state   the scan reads nothing that the source wrote                                (Cut, route scan)
    conv    the convolution has no taps on the source, at the target and on the way     (Cut, route conv)
    gate    z is computed from the source-free stream
    skip    the target's own input of u in the skip D u is the source-free one
    query   the target's own dt, B, C and write are computed from the source-free stream

All five together give the mixer the output that it has in the source-free run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mambascope.interventions import BaseRun, Variant, replay, top1_hit
from mambascope.interventions.budget import Budget, bytes_of
from mambascope.methods.ledger.plain import Plain
from mambascope.methods.ledger.question import Question
from mambascope.methods.ledger.streams import SITES, Streams, read_streams, skip_changes
from mambascope.models.language_model import LanguageModel
from mambascope.results.ledger import ROUTES
from mambascope.sites import Cut, Edit

STATE, CONV, GATE, SKIP, QUERY = (1 << number for number in range(len(ROUTES)))
CUTS = {STATE: "scan", CONV: "conv", STATE | CONV: "both"}
EVERY = (1 << len(ROUTES)) - 1
RECORDED_SHARE = 4  # of the memory for a replay, what may be recorded beside it


@dataclass(frozen=True, eq=False)
class World:
    """A source in the prompts that have it.

    rows:  the prompts' rows; targets: their targets, (rows, 1)
    cuts:  the cut of each coalition of state and conv, in every layer
    own, free: the target's streams as they are and source-free
    left:  the residual behind each layer at the target
    skips: see `skip_changes`
    whole: the answer's score in the source-free run
    """

    rows: Int64[np.ndarray, " rows"]
    targets: Int64[np.ndarray, "rows 1"]
    cuts: dict[int, Cut]
    own: Streams
    free: Streams
    left: Float[Tensor, "layers rows D"]
    skips: Float[Tensor, "2 layers rows ..."]
    whole: Float[np.ndarray, " rows"]

    def variant(self, coalition: int) -> Variant:
        """The coalition source-free in every layer, each by itself: the residual behind it is held at what it is."""
        edits = [e for layer in range(len(self.left)) for e in self._edits(layer, coalition)]
        edits += [self._edit("resid_post", layer, value) for layer, value in enumerate(self.left)]
        cut = self.cuts.get(coalition & (STATE | CONV))
        return Variant(tuple(edits), () if cut is None else (cut,))

    def _edits(self, layer: int, coalition: int) -> list[Edit]:
        """What a coalition changes in a layer beside its cut."""
        found: list[Edit] = []
        if coalition & QUERY:
            found.append(self._edit("norm", layer, self.free.norm[layer]))
        if coalition & (QUERY | GATE):
            gate = self.free.gate if coalition & GATE else self.own.gate
            found.append(self._edit("gate", layer, gate[layer]))
        # Query gives the skip the source-free input too: what is not meant is put back.
        meant, made = bool(coalition & SKIP), bool(coalition & QUERY)
        if meant != made:
            change = self.skips[int(bool(coalition & CONV)), layer]
            found.append(self._edit("scan_out", layer, change if meant else -change, op="add"))
        return found

    def _edit(self, site: str, layer: int, value: Tensor, op: str = "replace") -> Edit:
        where = {"layers": layer, "rows": self.rows, "positions": self.targets}
        return Edit(site=site, op=op, value=value[:, None], **where)


def source_free(
    model: LanguageModel, questions: Sequence[Question], source: str, plain: Plain
) -> World | None:
    """The world of one source; None if no prompt has it."""
    rows = np.array([r for r, each in enumerate(questions) if source in each.sources], dtype=int)
    if not len(rows):
        return None
    cuts = _cuts([questions[row] for row in rows], source, rows)
    prompts = [question.asked.ids for question in questions]
    run = model.run(prompts, cuts=[cuts[STATE | CONV]], record=list(SITES), logits="last")
    assert run.logits is not None
    index = torch.from_numpy(rows).to(model.device)
    every = read_streams(model, run, [question.target for question in questions])
    own, free = plain.streams.only(rows), every.only(rows)
    hidden = _taps_on_source([questions[row] for row in rows], source, own.windows.shape[2])
    return World(
        rows=rows,
        targets=np.array([[questions[row].target] for row in rows]),
        cuts=cuts,
        own=own,
        free=free,
        left=plain.left[:, index],
        skips=skip_changes(model, own, free, hidden),
        whole=plain.metric(run.logits[index], index).double().cpu().numpy(),
    )


def outputs(
    model: LanguageModel, questions: Sequence[Question], world: World, memory: int | None
) -> Float[Tensor, "coalitions layers rows D"]:
    """The mixer's output in each layer, all others being as they are, with each coalition source-free."""
    # Nothing behind a target tells on it.
    base = BaseRun([question.asked.ids[: question.target + 1] for question in questions])
    depth = range(model.config.n_layers)
    budget = Budget.of(model, memory).memory // RECORDED_SHARE
    of_variant = len(depth) * len(base.prompts) * max(base.lengths) * bytes_of(model, "mixer_out")
    step = max(1, budget // of_variant)
    found = world.own.mixer_out.new_empty(EVERY + 1, *world.own.mixer_out.shape)
    found[0], found[EVERY] = world.own.mixer_out, world.free.mixer_out
    rows, places = torch.from_numpy(world.rows), torch.from_numpy(world.targets[:, 0])
    for first in range(1, EVERY, step):
        some = range(first, min(first + step, EVERY))
        variants = [world.variant(coalition) for coalition in some]
        held = replay(
            model, base, variants, {"top": top1_hit(0)}, record=["mixer_out"], memory=memory
        )
        for layer in depth:
            at_target = held.recorded["mixer_out", layer][:, rows, places]
            found[some.start : some.stop, layer] = at_target.to(found)
    return found


def _cuts(questions: Sequence[Question], source: str, rows: np.ndarray) -> dict[int, Cut]:
    """By coalition, sharing their positions, so that a replay knows them for the same."""
    positions = [question.sources[source] for question in questions]
    first = Cut(sources=positions, targets=[[q.target] for q in questions], rows=rows)
    return {coalition: replace(first, route=route) for coalition, route in CUTS.items()}


def _taps_on_source(
    questions: Sequence[Question], source: str, taps: int
) -> Bool[np.ndarray, "rows K"]:
    """Whether each of the convolution's taps at the target, oldest first, lies on the source."""
    back = np.arange(1 - taps, 1)
    return np.array([np.isin(each.target + back, each.sources[source]) for each in questions])
