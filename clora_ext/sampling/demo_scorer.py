"""The demo world's scorer: an image encoder that had no part in training the demo model.

It knows that world's objects, styles and backgrounds alone. What trains it, and its text encoder, is the
recipe in ``examples/demo_model``; here it only looks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d, group_norm, linear, normalize, silu

from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.checkpoint import Checkpoint

__all__ = ["DEMO_SCORER", "SIDE", "Scorer", "load_scorer"]

DEMO_SCORER = DEMO_MODEL.with_name("demo_scorer.safetensors")
"""The shipped one."""

SIDE = 64
"""Of the pictures that it judges, pixels."""

_CONFIG_KEY = "clora.scorer_config"
_GROUPS = 8


@dataclass(frozen=True, slots=True)
class Scorer:
    """An encoder of strided convolutions, each with a residual block behind it.

    Attributes:
        weights: of the image encoder by their names in the file, float32, on the processor.
        stages: how many convolutions halve the picture.
    """

    weights: Mapping[str, Tensor]
    stages: int

    @torch.no_grad()
    def images(self, pictures: Tensor) -> Tensor:
        """Unit vectors (n, space) of pictures (n, 3, 64, 64) in [-1, 1]."""
        x = pictures
        for stage in range(self.stages):
            x = self._residual(self._convolved(x, f"body.{2 * stage}", stride=2), f"body.{2 * stage + 1}")
        features = silu(self._normed(x, "norm")).flatten(2)
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)
        return normalize(linear(pooled, *self._of("project")), dim=1)

    def _residual(self, x: Tensor, name: str) -> Tensor:
        y = self._convolved(silu(self._normed(x, f"{name}.norm1")), f"{name}.conv1")
        return x + self._convolved(silu(self._normed(y, f"{name}.norm2")), f"{name}.conv2")

    def _convolved(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        return conv2d(x, *self._of(name), stride=stride, padding=1)

    def _normed(self, x: Tensor, name: str) -> Tensor:
        return group_norm(x, _GROUPS, *self._of(name))

    def _of(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return self.weights[f"image.{name}.weight"], self.weights[f"image.{name}.bias"]


def load_scorer(file: Path = DEMO_SCORER) -> Scorer:
    """The scorer of a file, ready to score."""
    checkpoint = Checkpoint(file)
    stages = len(json.loads(checkpoint.header.metadata[_CONFIG_KEY])["image_widths"])
    names = [name for name in checkpoint.names if name.startswith("image.")]
    return Scorer({name: checkpoint.read_float(name) for name in names}, stages)
