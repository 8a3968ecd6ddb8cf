"""`mambascope train`: a language model from nothing, by AdamW and a cosine schedule, resumable at any step.

The batch is a function of (seed, step) alone and every random number is drawn before the first step, so the whole state of
a run is its weights, AdamW's moments and the step. Killed and started again, it goes on from the last checkpoint to the
same weights, bit for bit on the same machine.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.optim import AdamW
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from mambascope.data.mix import TrainingMix
from mambascope.data.recall import (
    RecallQuestion,
    passage_questions,
    seen_questions,
    unseen_questions,
)
from mambascope.data.tokenizer import load_tokenizer
from mambascope.errors import ConfigError, OutputError
from mambascope.models.language_model import LanguageModel
from mambascope.progress import ProgressBar
from mambascope.results.folder import write_files
from mambascope.sites import Segments
from mambascope.training.checkpoint import latest_checkpoint, save_checkpoint
from mambascope.training.config import TrainConfig, read_train_config
from mambascope.training.init import initialise
from mambascope.training.loss import next_token_loss
from mambascope.training.progress import TrainingProgress
from mambascope.training.recall import measure_recall

DECAYED_DIMS = 2
UNDECAYED = ("A_log", "embedding")


def train(path: Path) -> Path:
    """Train what the configuration file describes, going on from its last checkpoint if there is one.

    Returns the folder with the finished model in the transformers layout. Raises ConfigError or OutputError.
    """
    config = read_train_config(path)
    folder = config.out / config.name
    _claim(folder, config)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(config.float32_matmul_precision)
    try:
        return Trainer(config, folder).run()
    finally:
        torch.set_float32_matmul_precision(before)


class Trainer:
    """One training run."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.accelerator = Accelerator()
        self.tokenizer = load_tokenizer()
        model = LanguageModel(config.model, self.tokenizer, config.name)
        initialise(model, config.seed)
        self.mix = TrainingMix(
            self.tokenizer, config.tokens_per_batch, config.curriculum, config.seed
        )
        optimizer = AdamW(
            _parameter_groups(model, config.weight_decay),
            lr=config.learning_rate,
            betas=config.betas,
        )
        schedule = get_cosine_with_min_lr_schedule_with_warmup(
            optimizer,
            config.warmup_steps,
            config.steps,
            min_lr=config.min_learning_rate,
        )
        self.model, self.optimizer, self.schedule = self.accelerator.prepare(
            model, optimizer, schedule
        )
        self.metrics = folder / "metrics.jsonl"

    def run(self) -> Path:
        """Train to the last step and save the model."""
        first = self._resume()
        with ProgressBar("training", kept=True) as bar:
            progress = TrainingProgress(bar, self.config.steps, first)
            for step in range(first, self.config.steps):
                started = time.perf_counter()
                loss, tokens = self._step(step)
                progress.advance(loss, tokens / (time.perf_counter() - started))
                done = step + 1
                if done % self.config.evaluate_every == 0 or done == self.config.steps:
                    self._evaluate(done, loss)
                if done % self.config.checkpoint_every == 0 or done == self.config.steps:
                    save_checkpoint(self.accelerator, self.folder, done)
        final = self.folder / "final"
        if self.accelerator.is_main_process:
            self._bare().save(final)
        return final

    def _step(self, step: int) -> tuple[float, int]:
        """One optimiser step on the batch of this step and process."""
        number = step * self.accelerator.num_processes + self.accelerator.process_index
        batch = self.mix.batch(number)
        ids = torch.from_numpy(batch.ids).to(self.accelerator.device)
        segments = Segments.of(batch.lengths)
        self.model.train()
        logits, _ = self.model(ids, segments)
        loss = next_token_loss(logits, ids, segments, torch.from_numpy(batch.weights))
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.item(), len(batch.ids)

    def _resume(self) -> int:
        """Load the newest checkpoint; the step to go on from."""
        found = latest_checkpoint(self.folder)
        if found is None:
            return 0
        step, path = found
        self.accelerator.load_state(str(path))
        _forget_after(self.metrics, step)
        return step

    def _evaluate(self, step: int, loss: float) -> None:
        if not self.accelerator.is_main_process:
            return
        model = self._bare().eval()
        row: dict[str, Any] = {"step": step, "loss": loss}
        for name, questions in self._questions().items():
            recall = measure_recall(model, [(q.prompt, q.answer) for q in questions])
            row[f"{name}_first"] = float(recall.first_token.mean())
            row[f"{name}_exact"] = float(recall.exact.mean())
        with self.metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _questions(self) -> dict[str, list[RecallQuestion]]:
        """A fixed part of the questions of each kind."""
        facts = {"seen": seen_questions(), "unseen": unseen_questions()}
        stride = max(1, len(facts["seen"]) // self.config.evaluate_items)
        passages = {f"passage_{group}": passage_questions(group) for group in ("2", "5-7")}
        return {name: questions[::stride] for name, questions in facts.items()} | passages

    def _bare(self) -> LanguageModel:
        return self.accelerator.unwrap_model(self.model)


def _parameter_groups(model: LanguageModel, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for matrices; none for norms, biases, A and the embedding."""
    groups: dict[bool, list[torch.nn.Parameter]] = {True: [], False: []}
    for name, weight in model.named_parameters():
        decayed = weight.ndim >= DECAYED_DIMS and not name.endswith(UNDECAYED)
        groups[decayed].append(weight)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]


def _claim(folder: Path, config: TrainConfig) -> None:
    """Make the run's folder, or check that it belongs to this configuration."""
    own = config.model_dump_json(indent=2)
    record = folder / "config.json"
    if not record.exists():
        write_files(folder, {record.name: own.encode()})  # whole or not at all, if killed here too
    try:
        earlier = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{record} does not say what was trained there ({error}); give this run another name, or delete that folder"
        ) from error
    changed = [key for key, value in json.loads(own).items() if earlier.get(key) != value]
    if changed:
        raise ConfigError(
            f"{folder} holds a run with another configuration (different: {', '.join(changed)}); "
            "give this one another name, or delete that folder"
        )


def _forget_after(metrics: Path, step: int) -> None:
    """Drop the evaluations of steps that are run again."""
    if metrics.exists():
        rows = [
            line for line in metrics.read_text().splitlines() if json.loads(line)["step"] <= step
        ]
        write_files(metrics.parent, {metrics.name: "".join(f"{row}\n" for row in rows).encode()})
