"""A model for lm-evaluation-harness (extra `eval`), edited or not, under the name `mambascope`.

    import lm_eval, mambascope.methods.evaluation.harness
    lm_eval.simple_evaluate("mambascope", "model=atlas-mamba1,edits=edits.json", tasks=["lambada_openai"])

Contexts that several choices share are run once. Decoding is greedy.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]
from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
from lm_eval.api.registry import register_model  # pyright: ignore[reportMissingImports]
from lm_eval.models.utils import normalize_gen_kwargs  # pyright: ignore[reportMissingImports]
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # pyright: ignore[reportMissingImports]

from mambascope.errors import ConfigError
from mambascope.methods.evaluation.changes import Changes, read_changes
from mambascope.models.decoding import continuation_logprobs, decode, lasting
from mambascope.models.language_model import LanguageModel
from mambascope.models.load import load
from mambascope.models.run import Run

Row = list[int]


@register_model("mambascope")
class HarnessModel(TemplateLM):
    """A model as the harness wants it."""

    def __init__(
        self,
        model: str | LanguageModel = "atlas-mamba1",
        *,
        tokenizer: str | None = None,
        edits: str | Path | Changes | None = None,
        batch_size: int | str = 16,
        max_batch_size: int | None = None,
        device: str | None = "cpu",
        dtype: str = "float32",
        max_length: int = 2048,
        max_gen_toks: int = 64,
    ) -> None:
        """A model.

        model:        as for `load`, or a loaded one
        edits:        a file of edits and cuts in JSON, or what it says; they hold as models/decoding.py tells
        batch_size:   contexts that are run together; `max_batch_size` is the harness's and bounds it
        max_length:   a longer context loses its beginning; longer texts are scored in windows
        max_gen_toks: where a task does not say how much to decode
        """
        super().__init__()
        self._model = (
            model
            if isinstance(model, LanguageModel)
            else load(model, device or "cpu", dtype, tokenizer)
        )
        self.tokenizer = self._model.tokenizer
        if self.tokenizer is None:
            raise ConfigError(
                "the harness asks in texts, but this model has no tokenizer; name one"
            )
        changes = (
            edits if isinstance(edits, Changes) else read_changes(edits) if edits else Changes()
        )
        self._edits, self._cuts = changes.made()
        lasting(self._model, self._edits)
        self._batch = _whole(batch_size, max_batch_size)
        self.max_length, self._max_gen_toks = max_length, max_gen_toks

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text, which also stands for an empty context."""
        own = self._model.config.eos_ids
        return own[0] if own else self.tokenizer.eos_token_id

    @property
    def tokenizer_name(self) -> str:
        """A name for the harness's caches."""
        return self._model.name.replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> Row:
        """Token ids of a text."""
        special = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return self.tokenizer.encode(string, **special)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], Row, Row]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """Summed log-probability of each continuation, and whether greedy decoding gives it."""
        found: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        by_context: dict[tuple[int, ...], list[int]] = {}
        for number, (_, context, continuation) in enumerate(requests):
            room = max(1, self.max_length + 1 - len(continuation))
            by_context.setdefault(tuple(context[-room:]), []).append(number)
        for batch in _in_batches(by_context, self._batch, key=len):
            pairs = [(row, n) for row, context in enumerate(batch) for n in by_context[context]]
            pairs = [(row, n) for row, n in pairs if requests[n][2]]
            given = [(row, requests[n][2]) for row, n in pairs]
            run = self._run([list(context) for context in batch])
            scored = continuation_logprobs(self._model, run, given, edits=self._edits)
            for (_, number), (logprobs, greedy) in zip(pairs, scored, strict=True):
                found[number] = (float(logprobs.sum()), greedy)
        return found

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of each whole text, in windows that do not overlap in what they predict."""
        totals = []
        for request in requests:
            windows = get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, 1
            )
            pairs = [(("", ""), *make_disjoint_window(window)) for window in windows]
            totals.append(sum(logprob for logprob, _ in self._loglikelihood_tokens(pairs)))
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Greedy continuations, cut off before the first of the texts at which they are to end."""
        found = [""] * len(requests)
        asked: list[Any] = [request.args for request in requests]
        settings = [self._settings(options) for _, options in asked]
        groups: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for number, setting in enumerate(settings):
            groups.setdefault(setting, []).append(number)
        for (until, count), numbers in groups.items():
            rows = {n: self.tok_encode(asked[n][0])[-self.max_length :] for n in numbers}
            for batch in _in_batches(rows, self._batch, key=lambda n, rows=rows: len(rows[n])):
                made = self._decoded(
                    [rows[n] or [self.prefix_token_id] for n in batch], until, count
                )
                for number, text in zip(batch, made, strict=True):
                    found[number] = text
        return found

    def _settings(self, given: dict[str, Any]) -> tuple[tuple[str, ...], int]:
        """The texts that end a continuation, and its tokens at most; ConfigError if it is to be sampled."""
        wanted: dict[str, Any] = {**normalize_gen_kwargs(given, self._max_gen_toks)}
        if wanted.get("do_sample"):
            raise ConfigError("mambascope decodes greedily; set do_sample to false in the task")
        return tuple(wanted.get("until") or ()), int(wanted["max_gen_toks"])

    def _decoded(self, rows: list[Row], until: tuple[str, ...], count: int) -> list[str]:
        def ended(made: Row) -> bool:
            return any(text in self.tokenizer.decode(made) for text in until)

        run = self._run(rows)
        when = ended if until else None
        made = decode(self._model, run, count, edits=self._edits, ended=when, last_use=True)
        return [_cut_off(self.tokenizer.decode(ids), until) for ids in made]

    def _run(self, rows: list[Row]) -> Run:
        return self._model.run(
            rows, edits=self._edits, cuts=self._cuts, logits="last", keep_carry=True
        )


def _cut_off(text: str, until: Sequence[str]) -> str:
    ends = [at for at in (text.find(each) for each in until) if at >= 0]
    return text[: min(ends)] if ends else text


def _in_batches(items: Any, size: int, key: Callable[[Any], int]) -> Iterator[list[Any]]:
    """The items in runs of `size`, the longest first."""
    ordered = sorted(items, key=key, reverse=True)
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]


def _whole(batch_size: int | str, most: int | None) -> int:
    if not str(batch_size).isdecimal() or int(batch_size) < 1:
        raise ConfigError(f"batch_size must be a whole number from 1, not {batch_size!r}")
    return min(int(batch_size), most or int(batch_size))
