"""A LoRA that a training's adapter begins as: it is learned further, and folded as a whole."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clora_ext.adapters.sites import Target
from clora_ext.config.settings import Settings
from clora_ext.errors import UsageError
from clora_ext.formats.models import file_sha256
from clora_ext.formats.text import listed

from .context import ProjectContext
from .lora_files import read_changes

if TYPE_CHECKING:
    from clora_ext.adapters.factors import Factors
    from clora_ext.training.adapters import AdapterStart

__all__ = ["StartingLora", "read_starting_lora"]


@dataclass(frozen=True, slots=True)
class StartingLora:
    """A plain LoRA, read.

    Attributes:
        file: where it lies.
        sha256: of the file.
        factors: of its layers; a layer that is taught and not in it begins as nothing.
        rank: of most of them.
        alpha: likewise.
    """

    file: Path
    sha256: str
    factors: "Mapping[Target, Factors]"
    rank: int
    alpha: float

    @property
    def record(self) -> dict[str, Any]:
        """What the manifest keeps of it, beside the settings."""
        return {"starting": {"start_from": self.file.name, "start_sha256": self.sha256}}

    def adapted(self, settings: Settings) -> Settings:
        """The settings with the file's own rank and alpha, which is divided by the rank."""
        return settings.with_values(rank=self.rank, alpha=self.alpha, rslora=False)

    def check_layers(self, targets: Sequence[Target]) -> None:
        """Make sure that every layer of the file is taught.

        Raises:
            UsageError: some are not; they are named.
        """
        others = [target.name for target in self.factors if target not in set(targets)]
        if others:
            fix = "use --targets transformer, --text-encoder for text encoders, --conv-rank for convolutions"
            message = f"{self.file} holds {listed(others)}, which this training does not teach"
            raise UsageError(message, fix=fix)

    def begun(self, target: Target, start: "AdapterStart") -> "AdapterStart":
        """A layer's start with the file's factors, as the strategy's constraint allows them.

        Raises:
            UsageError: the strategy goes on with an adapter of its own.
        """
        if target not in self.factors:
            return start
        if start.factors.up.any():
            message = "the strategy goes on with its own adapter, which cannot begin as another one too"
            raise UsageError(message, fix="choose another strategy, or leave the starting LoRA out")
        factors = self.factors[target]
        allowed = factors if start.constraint is None else start.constraint.project(factors)
        return replace(start, factors=allowed)


def read_starting_lora(file: Path, context: ProjectContext) -> StartingLora:
    """Read it for the project's model.

    Raises:
        CheckpointError: it is no LoRA for this model.
        UsageError: it is no plain one.
    """
    from clora_ext.adapters.factors import Factors

    lora, changes = read_changes(file, context)
    factors = {target: one for target, one in changes.items() if isinstance(one, Factors)}
    others = [str(kind) for kind in lora.kinds if kind.kind != "LoRA"]
    if others or len(factors) < len(changes):
        message = f"{file} holds {', '.join(others)}; a training begins as a plain LoRA alone"
        raise UsageError(message, fix="fold it as a concept of its own: clora add-lora FILE")
    kinds = Counter((one.rank, one.alpha) for one in factors.values())
    (rank, alpha), _ = kinds.most_common(1)[0]
    return StartingLora(file, file_sha256(file), factors, rank, alpha)
