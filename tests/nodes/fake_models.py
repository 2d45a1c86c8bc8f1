"""As much of ComfyUI's models as the nodes touch: what patches them, and what loads them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import load_file

UNET = "model.diffusion_model."


# Strength, change, the model's strength, part of the weight, function of the change.
Patch = tuple[float, tuple[Any, ...], float, tuple[int, int, int] | None, Callable[[Any], Any] | None]


# How a model that predicts noise is sampled, and one that predicts v.
class EPS: ...


class V_PREDICTION(EPS): ...  # noqa: N801 - its name there


class ModelSamplingDiscrete:
    def __init__(self, model_config: Any = None, zsnr: bool | None = None) -> None:  # noqa: FBT001 - as there
        self.zsnr = bool(zsnr)


# What ComfyUI takes every Stable Diffusion 1 for.
class SamplingAsSeen(ModelSamplingDiscrete, EPS): ...


@dataclass
class Model:
    """What a MODEL patches."""

    model_config: Any = None
    model_sampling: Any = field(default_factory=SamplingAsSeen)


@dataclass
class Patcher:
    """A MODEL: weights, and lists of patches on them, which are applied one after the other."""

    weights: dict[str, Any]
    patches: dict[str, list[Patch]] = field(default_factory=dict)
    object_patches: dict[str, Any] = field(default_factory=dict)
    model: Model = field(default_factory=Model)

    def clone(self) -> "Patcher":
        patches = {name: list(patches) for name, patches in self.patches.items()}
        return Patcher(self.weights, patches, dict(self.object_patches), self.model)

    def add_object_patch(self, name: str, obj: Any) -> None:
        self.object_patches[name] = obj

    def get_model_object(self, name: str) -> Any:
        return self.object_patches.get(name, getattr(self.model, name))

    def add_patches(
        self, patches: Mapping[str, Any], strength_patch: float = 1.0, strength_model: float = 1.0
    ) -> list[str]:
        known = {name: what for name, what in patches.items() if name in self.weights}
        for name, what in known.items():
            self.patches.setdefault(name, []).append((strength_patch, what, strength_model, None, None))
        return list(known)

    def effective(self) -> dict[str, Any]:
        """The weights as they would be used."""
        return {name: self._patched(name, weight) for name, weight in self.weights.items()}

    def _patched(self, name: str, weight: Any) -> Any:
        for strength, what, strength_model, _, _ in self.patches.get(name, []):
            # A change alone, or a kind and its values; of the kinds, ours is the only one that is known here.
            if len(what) == 1:
                weight = weight * strength_model + strength * what[0]
            else:
                assert what[0] == "set"
                weight = what[1][0]
        return weight


def load_diffusion_model(unet_path: str) -> Patcher:
    state = load_file(unet_path)
    if "x_embedder.weight" in state and "noise_refiner.0.attention.qkv.weight" not in state:
        state["x_embedder.bias"]  # so ComfyUI fails on diffusers' names of Flux.2
    return load_diffusion_model_state_dict(state)


def load_diffusion_model_state_dict(sd: dict[str, Any]) -> Patcher:
    return Patcher({f"diffusion_model.{name.removeprefix(UNET)}": value for name, value in sd.items()})


def load_clip(ckpt_paths: list[str], embedding_directory: list[str], clip_type: str) -> tuple[str, str, str]:
    (path,) = ckpt_paths
    return "clip", path, clip_type


def load_torch_file(ckpt: str, return_metadata: bool) -> tuple[tuple[str, str], None]:  # noqa: FBT001
    assert return_metadata
    return ("weights", ckpt), None


class VAE:
    """A VAE: the weights that it was made of."""

    def __init__(self, sd: Any, metadata: Any) -> None:
        self.sd, self.metadata = sd, metadata

    def throw_exception_if_invalid(self) -> None: ...
