"""Kinds of VAE beside transformers of flow matching: their names, their shapes, how latents are scaled.

Importing this file imports no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clora_ext.families.latent.activations import picture_bytes, vae_bytes
from clora_ext.formats.flow_keys import flow_vae_table, flux2_vae_table, qwen_image_vae_table
from clora_ext.formats.header import Header
from clora_ext.formats.keys import KeyTable

from .shapes import flow_vae_config, flux2_vae_config, qwen_image_vae_config

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["FLUX_1", "FLUX_2", "QWEN_IMAGE", "VaeKind"]

_FILM_FACTOR = 18.2  # numbers that a VAE of films takes for each of its first width, and pixel
_PATCH = 2  # side of the square of latents of Flux.2's that is one place of what the transformer sees


@dataclass(frozen=True, slots=True)
class VaeKind:
    """A kind of VAE.

    Attributes:
        title: what people call it.
        usual: names of its file, as it is published.
        patch: side of the square of its latents that is one place of what the transformer is given.
        configure: diffusers' configuration from a header, a prefix, and what shapes do not tell; raises
            CheckpointError.
        table: the key table of one with a configuration.
        build: an empty module of a configuration.
        scaled: mean and deviation of a module's own latents (n, c, h, w) as the transformer is given them,
            (n, c * patch², h / patch, w / patch).
        unscaled: the way back of latents.
        films: whether its pictures are films of one picture; then its configuration has other names, too.
    """

    title: str
    usual: tuple[str, ...]
    patch: int
    configure: Callable[[Header, str, Mapping[str, Any]], dict[str, Any]]
    table: Callable[[Mapping[str, Any]], KeyTable]
    build: "Callable[[Mapping[str, Any]], nn.Module]"
    scaled: "Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]"
    unscaled: "Callable[[Any, Tensor], Tensor]"
    films: bool = False

    def reduction(self, config: Mapping[str, Any]) -> int:
        """Pixels along a side of one place of what the transformer is given."""
        levels = config["dim_mult" if self.films else "block_out_channels"]
        return int(2 ** (len(levels) - 1) * self.patch)

    def channels(self, config: Mapping[str, Any]) -> int:
        """Of what the transformer is given."""
        return int(config["z_dim" if self.films else "latent_channels"] * self.patch**2)

    def picture_bytes(self, config: Mapping[str, Any], size: tuple[int, int]) -> int:
        """About how much it takes in float32 beside its weights for one picture of (width, height) pixels."""
        if self.films:
            return vae_bytes(config["base_dim"], size, _FILM_FACTOR)
        return picture_bytes({"vae": config}, size)

    def encoded(self, vae: Any, pixels: "Tensor") -> "tuple[Tensor, Tensor]":  # noqa: ANN401 - diffusers'
        """Mean and deviation of a module's own latents (n, c, h, w) of pixels (n, 3, H, W) in [-1, 1]."""
        if not self.films:
            place = vae.encode(pixels).latent_dist
            return place.mean, place.std
        place = vae.encode(pixels.unsqueeze(2)).latent_dist
        return place.mean.squeeze(2), place.std.squeeze(2)

    def decoded(self, vae: Any, latents: "Tensor") -> "Tensor":  # noqa: ANN401 - diffusers'
        """The pixels of a module's own latents: the way back."""
        found: Tensor = vae.decode(latents.unsqueeze(2) if self.films else latents).sample
        return found.squeeze(2) if self.films else found


def _build_1(config: Mapping[str, Any]) -> "nn.Module":
    from diffusers import AutoencoderKL

    found: nn.Module = AutoencoderKL.from_config(dict(config))
    return found


def _scaled_1(vae: Any, mean: "Tensor", deviation: "Tensor") -> "tuple[Tensor, Tensor]":  # noqa: ANN401 - diffusers'
    scale, shift = float(vae.config["scaling_factor"]), float(vae.config["shift_factor"])
    return (mean - shift) * scale, deviation * scale


def _unscaled_1(vae: Any, latents: "Tensor") -> "Tensor":  # noqa: ANN401 - diffusers'
    return latents / float(vae.config["scaling_factor"]) + float(vae.config["shift_factor"])


def _build_2(config: Mapping[str, Any]) -> "nn.Module":
    from diffusers import AutoencoderKLFlux2

    found: Any = AutoencoderKLFlux2.from_config(dict(config))
    # How many batches the statistics are of: files may lack it, and nothing reads it.
    found.bn.num_batches_tracked, found.bn.track_running_stats = None, False
    return found  # type: ignore[no-any-return]


def _scaled_2(vae: Any, mean: "Tensor", deviation: "Tensor") -> "tuple[Tensor, Tensor]":  # noqa: ANN401 - diffusers'
    import torch

    centre, spread = _statistics(vae)
    places, spreads = (torch.nn.functional.pixel_unshuffle(one, _PATCH) for one in (mean, deviation))
    return (places - centre) / spread, spreads / spread


def _unscaled_2(vae: Any, latents: "Tensor") -> "Tensor":  # noqa: ANN401 - diffusers'
    import torch

    centre, spread = _statistics(vae)
    return torch.nn.functional.pixel_shuffle(latents * spread + centre, _PATCH)


def _build_qwen_image(config: Mapping[str, Any]) -> "nn.Module":
    from diffusers import AutoencoderKLQwenImage

    found: nn.Module = AutoencoderKLQwenImage.from_config(dict(config))
    return found


def _scaled_qwen_image(vae: Any, mean: "Tensor", deviation: "Tensor") -> "tuple[Tensor, Tensor]":  # noqa: ANN401 - diffusers'
    centre, spread = _published(vae, mean)
    return (mean - centre) / spread, deviation / spread


def _unscaled_qwen_image(vae: Any, latents: "Tensor") -> "Tensor":  # noqa: ANN401 - diffusers'
    centre, spread = _published(vae, latents)
    return latents * spread + centre


def _published(vae: Any, like: "Tensor") -> "list[Tensor]":  # noqa: ANN401 - diffusers'
    """Mean and deviation of each channel, (1, c, 1, 1), which are published beside the weights."""
    import torch

    both = (vae.config["latents_mean"], vae.config["latents_std"])
    return [torch.tensor(one, device=like.device).reshape(1, -1, 1, 1) for one in both]


def _statistics(vae: Any) -> "tuple[Tensor, Tensor]":  # noqa: ANN401 - diffusers'
    """Mean and deviation of each channel of the patches, (1, c, 1, 1)."""
    mean, variance = (one.float().reshape(1, -1, 1, 1) for one in (vae.bn.running_mean, vae.bn.running_var))
    return mean, (variance + float(vae.config["batch_norm_eps"])).sqrt()


FLUX_1 = VaeKind(
    title="VAE of Flux 1",
    usual=("ae.safetensors",),
    patch=1,
    configure=flow_vae_config,
    table=flow_vae_table,
    build=_build_1,
    scaled=_scaled_1,
    unscaled=_unscaled_1,
)
"""16 channels, a factor and an offset."""

FLUX_2 = VaeKind(
    title="VAE of Flux.2",
    usual=("flux2-vae.safetensors",),
    patch=_PATCH,
    configure=flux2_vae_config,
    table=flux2_vae_table,
    build=_build_2,
    scaled=_scaled_2,
    unscaled=_unscaled_2,
)
"""32 channels, in squares of 2 x 2, each of the 128 with a mean and a variance that lie in the file."""

QWEN_IMAGE = VaeKind(
    title="VAE of Qwen-Image",
    usual=("qwen_image_vae.safetensors",),
    patch=1,
    configure=qwen_image_vae_config,
    table=qwen_image_vae_table,
    build=_build_qwen_image,
    scaled=_scaled_qwen_image,
    unscaled=_unscaled_qwen_image,
    films=True,
)
"""16 channels, each with a mean and a deviation; Wan's for films, of which a picture is the first frame."""
