"""CSD: how alike two pictures are in style, whatever they show (arXiv 2404.01292)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm, linear, scaled_dot_product_attention

from clora_ext.errors import CheckpointError
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.text import listed

from .encoders import digest_of, in_batches
from .framing import CLIP_COLOURS, Framing
from .weights import WEIGHTS, refuse_pickle

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CsdScorer", "check_csd", "load_csd"]

_HEAD = 64  # width of an attention head in every vision transformer of OpenAI's
_STYLE = "last_layer_style"
_WHOLE = (
    "backbone.class_embedding", "backbone.positional_embedding", "backbone.conv1.weight",
    "backbone.ln_pre.weight", "backbone.ln_post.weight", _STYLE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CsdScorer:
    """OpenAI's ViT-L/14 with the projection of style behind it, in the published names.

    Attributes:
        digest: of weights and framing.
        framing: of the pictures.
        weights: by their names, float32.
    """

    digest: str
    framing: Framing
    weights: Mapping[str, Tensor]

    @property
    def name(self) -> str:
        """Of the scorer."""
        return "csd"

    def images(self, pictures: "Sequence[Image]") -> Tensor:
        """Unit vectors (n, width) of style, float32, on the processor."""
        return in_batches(pictures, self.framing, self.encode, self.weights[_STYLE].device)

    def encode(self, pixels: Tensor) -> Tensor:
        """Style (n, width), not normed, of normalised pixels (n, 3, side, side)."""
        kernel = self.weights["backbone.conv1.weight"]
        patches = conv2d(pixels, kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
        first = self.weights["backbone.class_embedding"].expand(len(pixels), 1, -1)
        x = torch.cat([first, patches], dim=1) + self.weights["backbone.positional_embedding"]
        x = self._normed(x, "backbone.ln_pre")
        for block in range(_depth(self.weights)):
            x = self._block(x, f"backbone.transformer.resblocks.{block}")
        return self._normed(x[:, 0], "backbone.ln_post") @ self.weights[_STYLE]

    def _block(self, x: Tensor, name: str) -> Tensor:
        x = x + self._attention(self._normed(x, f"{name}.ln_1"), f"{name}.attn")
        wide = linear(self._normed(x, f"{name}.ln_2"), *self._of(f"{name}.mlp.c_fc"))
        # The activation that CLIP was trained with, an approximation of GELU.
        return x + linear(wide * torch.sigmoid(1.702 * wide), *self._of(f"{name}.mlp.c_proj"))

    def _attention(self, x: Tensor, name: str) -> Tensor:
        count, tokens, width = x.shape
        weights = self.weights[f"{name}.in_proj_weight"], self.weights[f"{name}.in_proj_bias"]
        parts = linear(x, *weights).reshape(count, tokens, 3, width // _HEAD, _HEAD).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(*parts).transpose(1, 2).reshape(count, tokens, width)
        return linear(seen, *self._of(f"{name}.out_proj"))

    def _normed(self, x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], *self._of(name))

    def _of(self, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias."""
        return self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]


def check_csd(file: Path) -> Checkpoint:
    """Make sure that the file, or ``model.safetensors`` in the folder, holds CSD; loads nothing.

    Raises:
        CheckpointError: it does not; a pickle, such as the published ``checkpoint.pth``, is not read.
    """
    refuse_pickle(file)
    file = file / WEIGHTS if file.is_dir() else file
    if not file.is_file():
        raise CheckpointError(f"there is no file {file}", fix="name the .safetensors file of CSD's weights")
    checkpoint = Checkpoint(file)
    names = {_plain(name) for name in checkpoint.names}
    missing = [name for name in _WHOLE if name not in names]
    if missing:
        message = f"{file} is not CSD's: it lacks {listed(missing, 3)}"
        raise CheckpointError(
            message, fix="docs/forgetting.md#weights tells how to convert what is published"
        )
    return checkpoint


def load_csd(file: Path, device: torch.device) -> CsdScorer:
    """CSD from a safetensors file with the published names, with or without ``module.`` before them.

    Raises:
        CheckpointError: it holds something else.
    """
    checkpoint = check_csd(file)
    wanted = [name for name in checkpoint.names if _plain(name).startswith(("backbone.", _STYLE))]
    weights = {_plain(name): checkpoint.read_float(name).to(device) for name in wanted}
    places, patch = weights["backbone.positional_embedding"].shape[0] - 1, weights["backbone.conv1.weight"]
    side = isqrt(places) * patch.shape[-1]
    framing = Framing(side, side, CLIP_COLOURS)
    return CsdScorer(digest_of("csd", framing, checkpoint.path), framing, weights)


def _plain(name: str) -> str:
    """Without what training on several cards puts before it."""
    return name.removeprefix("module.")


def _depth(weights: Mapping[str, Tensor]) -> int:
    """How many blocks there are."""
    start = "backbone.transformer.resblocks."
    return len({name.removeprefix(start).split(".")[0] for name in weights if name.startswith(start)})
