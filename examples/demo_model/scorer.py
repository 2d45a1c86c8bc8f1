"""The scorer: a small image encoder and text encoder that share a space, in the manner of CLIP."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import normalize, silu

CONFIG_KEY = "clora.scorer_config"
"""The header entry that holds the configuration as JSON."""


@dataclass(frozen=True, slots=True)
class ScorerConfig:
    """The sizes of both encoders."""

    vocabulary: int
    end_token: int
    max_tokens: int = 20
    text_width: int = 128
    text_layers: int = 2
    image_widths: tuple[int, ...] = (32, 64, 128, 256)
    space: int = 128


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus what the two convolutions add; same shape."""
        y = self.conv1(silu(self.norm1(x)))
        added: Tensor = self.conv2(silu(self.norm2(y)))
        return x + added


class ImageEncoder(nn.Module):
    """(n, 3, 64, 64) in [-1, 1] to (n, space)."""

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in config.image_widths:
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), Residual(width)]
            before = width
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(8, before)
        self.project = nn.Linear(2 * before, config.space)

    def forward(self, pictures: Tensor) -> Tensor:
        """Features from the average and the maximum over positions."""
        features = silu(self.norm(self.body(pictures))).flatten(2)
        projected: Tensor = self.project(torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1))
        return projected


class TextEncoder(nn.Module):
    """Token ids (n, tokens), padded with the end token, to (n, space)."""

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        self.end = config.end_token
        self.tokens = nn.Embedding(config.vocabulary, config.text_width)
        self.places = nn.Parameter(0.02 * torch.randn(config.max_tokens, config.text_width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.text_width,
                nhead=4,
                dim_feedforward=4 * config.text_width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.text_layers)
        )
        self.norm = nn.LayerNorm(config.text_width)
        self.project = nn.Linear(config.text_width, config.space)

    def forward(self, ids: Tensor) -> Tensor:
        """The state at the first end token; what follows it is masked."""
        end = (ids == self.end).int().argmax(dim=1)
        padding = torch.arange(ids.shape[1]) > end[:, None]
        x = self.tokens(ids) + self.places[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        projected: Tensor = self.project(self.norm(x[torch.arange(len(ids)), end]))
        return projected


class Scorer(nn.Module):
    """Both encoders and the temperature between them."""

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        self.config = config
        self.image = ImageEncoder(config)
        self.text = TextEncoder(config)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def images(self, pictures: Tensor) -> Tensor:
        """Unit vectors (n, space) of pictures (n, 3, 64, 64) in [-1, 1]."""
        return normalize(self.image(pictures).float(), dim=1)

    def texts(self, ids: Tensor) -> Tensor:
        """Unit vectors (n, space) of token ids (n, tokens)."""
        return normalize(self.text(ids).float(), dim=1)


def save_scorer(scorer: Scorer, file: Path) -> None:
    """One float16 safetensors with the configuration in its header."""
    tensors = {
        name: tensor.detach().half().contiguous() for name, tensor in sorted(scorer.state_dict().items())
    }
    save_file(tensors, file, metadata={CONFIG_KEY: json.dumps(asdict(scorer.config), sort_keys=True)})


def load_scorer(file: Path) -> Scorer:
    """The scorer of a file, in float32, ready to score."""
    with safe_open(file, framework="pt") as opened:
        values = json.loads(opened.metadata()[CONFIG_KEY])
        tensors = {name: opened.get_tensor(name).float() for name in sorted(opened.keys())}
    scorer = Scorer(ScorerConfig(**{**values, "image_widths": tuple(values["image_widths"])}))
    scorer.load_state_dict(tensors)
    return scorer.eval()
