"""The demo world's scorer: an image encoder that had no part in training the demo model.

It knows that world's objects, styles and backgrounds alone. What trains it, and its text encoder, is the
recipe in ``examples/demo_model``; here it only looks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, group_norm, linear, normalize, silu

from clora_ext.families.hub import DEMO_MODEL
from clora_ext.formats.checkpoint import Checkpoint, content_hash

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DEMO_SCORER", "SIDE", "DemoScorer", "load_demo_scorer"]

DEMO_SCORER = DEMO_MODEL.with_name("demo_scorer.safetensors")
"""The shipped one."""

SIDE = 64
"""Of the pictures that it judges, pixels."""

_CONFIG_KEY = "clora.scorer_config"
_GROUPS = 8
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class DemoScorer:
    """An encoder of strided convolutions, each with a residual block behind it.

    Attributes:
        weights: of the image encoder by their names in the file, float32, on the processor.
        stages: how many convolutions halve the picture.
        digest: content hash of the file.
    """

    weights: Mapping[str, Tensor]
    stages: int
    digest: str

    @property
    def name(self) -> str:
        """Of the scorer."""
        return "demo"

    def images(self, pictures: "Sequence[Image]") -> Tensor:
        """Unit vectors (n, space) of pictures, which are scaled to 64 x 64 pixels."""
        pixels = [_pixels(picture) for picture in pictures]
        parts = [pixels[start : start + _AT_ONCE] for start in range(0, len(pixels), _AT_ONCE)]
        return torch.cat([self.encode(torch.stack(part)) for part in parts])

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Unit vectors (n, space) of pixels (n, 3, 64, 64) in [-1, 1]."""
        x = pixels
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


def load_demo_scorer(file: Path = DEMO_SCORER) -> DemoScorer:
    """The scorer of a file, ready to score."""
    checkpoint = Checkpoint(file)
    stages = len(json.loads(checkpoint.header.metadata[_CONFIG_KEY])["image_widths"])
    names = [name for name in checkpoint.names if name.startswith("image.")]
    weights = {name: checkpoint.read_float(name) for name in names}
    return DemoScorer(weights, stages, content_hash(checkpoint))


def _pixels(image: "Image") -> Tensor:
    """(3, 64, 64) in [-1, 1]."""
    array = np.asarray(image.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1) / 127.5 - 1
