"""The networks that a model is made of, and where their tensors stand in a checkpoint. Needs no torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from clora_ext.formats.header import Header
from clora_ext.formats.leftovers import is_leftover

__all__ = ["Component", "Role", "component_of", "components_by_name", "denoiser_of", "roles_of"]

Role = Literal["denoiser", "text_encoder", "vae"]


@dataclass(frozen=True, slots=True)
class Component:
    """One network of a model.

    Attributes:
        name: as diffusers' folders and LoRA files call it, such as ``unet``.
        prefix: what the names of its tensors begin with in a checkpoint of one file.
        role: ``denoiser``, the network that concepts are taught to; ``text_encoder``; or ``vae``, which turns
            pictures into latents and back.
    """

    name: str
    prefix: str
    role: Role


def components_by_name(components: Iterable[Component]) -> dict[str, Component]:
    """As a family gives them: by name, in the order in which they are loaded."""
    return {component.name: component for component in components}


def denoiser_of(components: Mapping[str, Component]) -> Component:
    """The one denoiser of a family's components."""
    (found,) = (component for component in components.values() if component.role == "denoiser")
    return found


def component_of(components: Mapping[str, Component], tensor: str) -> Component | None:
    """The component that a checkpoint's tensor belongs to; None: to none of them, such as a marker."""
    return next((one for one in components.values() if tensor.startswith(one.prefix)), None)


def roles_of(components: Mapping[str, Component], header: Header) -> Mapping[str, Role | None]:
    """The role of every tensor in a checkpoint's header; None: no component's, or a left-over of training."""
    found: dict[str, Role | None] = {}
    for name in header.tensors:
        one = component_of(components, name)
        left = one is None or is_leftover(one.name, name.removeprefix(one.prefix))
        found[name] = None if one is None or left else one.role
    return found
