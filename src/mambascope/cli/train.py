"""`mambascope train`: a model from nothing, as a configuration file says."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model from nothing; started again after an interruption it goes on from its last checkpoint."""

    config: Path
    """A YAML file such as configs/atlas-mamba1.yaml."""

    def run(self) -> None:
        """Train, and say where the model is."""
        from mambascope.training.train import train

        print(train(self.config))
