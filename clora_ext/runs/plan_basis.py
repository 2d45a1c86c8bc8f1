"""What every plan stands on: the project's state, checked settings, the strategy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from clora_ext.config.settings import Settings
from clora_ext.data import check_resolution
from clora_ext.project import ConceptRecord, Project

from .context import ProjectContext
from .request import Request

if TYPE_CHECKING:
    from clora_ext.strategies.base import Strategy

__all__ = ["PlanBasis"]


@dataclass(frozen=True, slots=True)
class PlanBasis:
    """What is decided before the pictures or the LoRA are looked at.

    Attributes:
        request: as asked.
        project: open; None: one that does not exist yet.
        context: its state.
        settings: checked.
        strategy: with its options.
        processes: that train together.
    """

    request: Request
    project: Project | None
    context: ProjectContext
    settings: Settings
    strategy: "Strategy"
    processes: int = 1

    @property
    def held(self) -> tuple[ConceptRecord, ...]:
        """The concepts that are in the model."""
        return () if self.project is None else self.project.held

    @property
    def resolution(self) -> int:
        """Side of the square whose area pictures get, pixels.

        Raises:
            UsageError: the model has no pictures of that size.
        """
        side = self.settings.data.resolution or self.context.family.resolution(self.context.header)
        check_resolution(side, self.context.size_multiple)
        return side

    def fingerprint(self, material: str, shaping: Mapping[str, Any]) -> str:
        """sha256 over base, state, material and whatever else shapes the result.

        Args:
            material: hash of the pictures with their captions, or of the LoRA's file.
            shaping: plain values for JSON.
        """
        content = {
            "base": self.context.base.sha256,
            "parent": self.context.parent_hash,
            "dataset": material,
            "settings": shaping,
            **self.strategy.revised,
            **self._said_beside(),
        }
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _said_beside(self) -> dict[str, Any]:
        """What the base predicts, where the base's own hash does not stand for it."""
        stamp = self.context.stamp
        return {"prediction": stamp} if stamp else {}
