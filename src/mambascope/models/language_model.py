"""A language model: token embedding, blocks, final norm, unembedding, and the ways to run them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mambascope.errors import ConfigError, PromptError, SiteError
from mambascope.models.architectures import architecture_of
from mambascope.models.config import ModelConfig
from mambascope.models.kernels import linear
from mambascope.models.prompts import PromptLike, to_ids
from mambascope.models.protocol import Carry
from mambascope.models.run import ModelCarry, Run
from mambascope.sites import Cut, Edit, Segments, Site, Tap, shared_sites
from mambascope.sites.site import find_site
from mambascope.sites.tap import RecordRequest

Logits = Literal["all", "last", "none"]


class LanguageModel(nn.Module):
    """Any architecture behind one interface. Build one with `mambascope.load`, or from a configuration to train it.

    config:    sizes and options; `tokenizer`: None for models that work by ids; `name`: what it was loaded from
    """

    def __init__(self, config: ModelConfig, tokenizer: Any = None, name: str = "") -> None:
        super().__init__()
        parts = architecture_of(config)
        self.config = config
        self.tokenizer = tokenizer
        self.name = name or config.architecture
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        learned = getattr(config, "positions", None) == "learned"
        self.position_embedding = (
            nn.Parameter(torch.empty(getattr(config, "max_positions", 0), config.d_model))
            if learned
            else None
        )
        self.blocks = nn.ModuleList(parts.block(config) for _ in range(config.n_layers))
        self._steps = parts.steps
        self.final_norm = parts.final_norm(config)
        self.unembedding = (
            None
            if config.tie_embeddings
            else nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        )
        declared = shared_sites(config.d_model, config.vocab_size) + parts.sites(config)
        self.sites: dict[str, Site] = {site.name: site for site in declared}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.embedding.dtype

    # ---- the forward pass on packed tokens -------------------------------------------------------

    def embed(
        self, ids: Int64[Tensor, " tokens"], segments: Segments, tap: Tap
    ) -> Float[Tensor, "tokens D"]:
        """The residual before the first block."""
        resid = tap.layer(None)("embed", self.embedding[ids])
        if self.position_embedding is not None:
            positions = torch.from_numpy(segments.positions).to(ids.device)
            resid = resid + self.position_embedding[positions]
        return resid.float() if self._float_residual else resid

    def backbone(
        self,
        resid: Float[Tensor, "tokens D"],
        segments: Segments,
        carry: Sequence[Carry] | None,
        tap: Tap,
    ) -> tuple[Float[Tensor, "tokens D"], list[Carry]]:
        """The residual after the last block, and each layer's carry at `segments.keep`."""
        if self._steps is not None and carry is not None:
            stepped = self._steps(self.blocks, resid, segments, carry, tap)
            if stepped is not None:
                return stepped
        kept: list[Carry] = []
        for number, block in enumerate(self.blocks):
            before = carry[number] if carry is not None else None
            resid, after = block(resid, segments, before, tap.layer(number))
            if after is not None:
                kept.append(after)
        return resid, kept

    def unembed(self, resid: Float[Tensor, "tokens D"], tap: Tap) -> Float[Tensor, "tokens V"]:
        """Logits of these residual rows."""
        outside = tap.layer(None)
        normed = outside("final_norm", self.final_norm(resid))
        weight = self.embedding if self.unembedding is None else self.unembedding
        return outside("logits", linear(normed.to(weight.dtype), weight))

    def forward(
        self,
        ids: Int64[Tensor, " tokens"],
        segments: Segments,
        carry: Sequence[Carry] | None = None,
        tap: Tap | None = None,
        logits: Logits = "all",
    ) -> tuple[Float[Tensor, "rows V"] | None, list[Carry]]:
        """Packed ids to the logits of all tokens or each segment's last one, and the carries at `segments.keep`."""
        tap = tap or self.tap(segments)
        resid, kept = self.backbone(self.embed(ids, segments, tap), segments, carry, tap)
        last = torch.from_numpy(segments.last).to(resid.device)
        if logits == "none" and not tap.layer(None).wants("final_norm", "logits"):
            return None, kept
        if logits == "last" and not tap.layer(None).wants("final_norm", "logits"):
            return self.unembed(resid[last], tap), kept
        every = self.unembed(resid, tap)
        return {"all": every, "last": every[last], "none": None}[logits], kept

    def tap(
        self,
        segments: Segments,
        edits: Sequence[Edit] = (),
        record: Sequence[RecordRequest] = (),
        cuts: Sequence[Cut] = (),
    ) -> Tap:
        """Edits, cuts and records placed on these segments; SiteError for what does not fit this model."""
        return Tap(self.sites, self.config.n_layers, segments, edits, record, cuts)

    # ---- what users call -------------------------------------------------------------------------

    def run(
        self,
        prompt: PromptLike,
        *,
        edits: Sequence[Edit] = (),
        cuts: Sequence[Cut] = (),
        record: Sequence[RecordRequest] = (),
        logits: Logits = "all",
        carry: ModelCarry | None = None,
        keep_carry: bool = False,
    ) -> Run:
        """One forward pass.

        prompt: a text, texts, or token ids (a tensor, or lists of unequal length)
        edits:  made in the order given; a value with S rows runs a single prompt S times
        cuts:   edges between tokens to remove
        record: sites to keep, "resid_post" or ("state", 3) or ("state", [3, 4])
        logits: "all" gives (B, T, V), "last" (B, V), "none" None
        carry:  go on from an earlier run's carry instead of from nothing; `keep_carry` returns the new one

        Gradients flow if something requires them: the weights (off after `load`) or an edit's value.
        Raises PromptError for a prompt, SiteError for an edit or record that does not fit or touched nothing.
        """
        if logits not in ("all", "last", "none"):
            raise ConfigError(f"logits must be 'all', 'last' or 'none', not {logits!r}")
        if isinstance(edits, Edit) or not all(isinstance(edit, Edit) for edit in edits):
            raise SiteError(f"edits must be a list of Edit, not {edits!r}")
        if isinstance(cuts, Cut) or not all(isinstance(cut, Cut) for cut in cuts):
            raise SiteError(f"cuts must be a list of Cut, not {cuts!r}")
        rows = self._expand(to_ids(prompt, self.tokenizer, self.config.vocab_size), edits)
        segments = self._segments(rows, carry, keep_carry)
        tap = self.tap(segments, edits, record, cuts)
        packed = torch.tensor([i for row in rows for i in row], device=self.device)
        found, kept = self(packed, segments, carry and carry.layers, tap, logits)
        tap.check_all_fired()
        if found is not None and logits == "all":
            found = segments.pad(found, fill=torch.nan)
        after = ModelCarry(kept, segments.starts + segments.lengths) if keep_carry else None
        return Run(rows, found, after, segments, tap.recorded, self.config.n_layers)

    @torch.no_grad()
    def generate(
        self,
        prompt: PromptLike,
        *,
        max_new_tokens: int = 16,
        edits: Sequence[Edit] = (),
        cuts: Sequence[Cut] = (),
        ended: Callable[[list[int]], bool] | None = None,
    ) -> str | list[str] | list[list[int]]:
        """The greedy continuation, without the prompt: text for a text, texts for texts, lists of ids for ids.

        edits, cuts: as in `run`; models/decoding.py says how they hold in the tokens that are decoded
        ended:       told a continuation's ids so far after each of them; True ends it

        Decodes with the carry, so a Mamba's memory does not grow with the tokens. Stops after `max_new_tokens`, or
        before an end-of-text token of the configuration.
        """
        from mambascope.models.decoding import decode, lasting

        if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be 1 or more, not {max_new_tokens!r}")
        lasting(self, edits)
        run = self.run(prompt, edits=edits, cuts=cuts, logits="last", keep_carry=True)
        made = decode(self, run, max_new_tokens, edits=edits, ended=ended, last_use=True)
        if isinstance(prompt, str):
            return self.tokenizer.decode(made[0])
        if not isinstance(prompt, Tensor) and all(isinstance(p, str) for p in prompt):
            return [self.tokenizer.decode(ids) for ids in made]
        return made

    def save(self, folder: str | Path) -> None:
        """Write the model in the transformers layout; see models/save.py for what that cannot express."""
        from mambascope.models.save import save_model

        save_model(self, folder)

    @property
    def _float_residual(self) -> bool:
        return self.config.residual_in_fp32 and self.dtype in (torch.float16, torch.bfloat16)

    def _segments(
        self, rows: list[list[int]], carry: ModelCarry | None, keep_carry: bool
    ) -> Segments:
        lengths = [len(row) for row in rows]
        keep = "last" if keep_carry else "none"
        if carry is None:
            starts, slots = None, None
        else:
            if len(carry.positions) != len(rows):
                raise PromptError(
                    f"the carry holds {len(carry.positions)} prompts, but {len(rows)} were given"
                )
            if len(carry.layers) != self.config.n_layers or not all(map(self._fits, carry.layers)):
                raise PromptError(
                    f"the carry is that of another model: {len(carry.layers)} layers, and this {self.config.architecture} has "
                    f"{self.config.n_layers}, or sizes that are not this model's; give one that this model returned"
                )
            starts, slots = carry.positions, np.arange(len(rows))
        self.check_length(max(lengths) + int(0 if starts is None else starts.max()))
        return Segments.of(lengths, starts=starts, slots=slots, keep=keep)

    def _fits(self, layer: Carry) -> bool:
        """Whether a layer's carry has the shapes that this model's have."""
        return all(
            name in self.sites and self.sites[name].shape == shape
            for name, shape in layer.shapes.items()
        )

    def check_length(self, length: int) -> None:
        """PromptError for a prompt of more tokens than the model has positions."""
        if self.position_embedding is not None and length > len(self.position_embedding):
            raise PromptError(
                f"the prompt has {length} tokens, but this model has only "
                f"{len(self.position_embedding)} positions"
            )

    def _expand(self, rows: list[list[int]], edits: Sequence[Edit]) -> list[list[int]]:
        """A single prompt as many times as the edits' values have rows."""
        counts = {
            edit.value.shape[0]
            for edit in edits
            if edit.rows is None
            and isinstance(edit.value, Tensor)
            and edit.value.ndim == len(find_site(self.sites, edit.site).shape) + 2
        } - {1}
        if len(counts) > 1:
            raise SiteError(f"the edits' values have different numbers of rows: {sorted(counts)}")
        if counts and len(rows) == 1:
            return rows * counts.pop()
        return rows
