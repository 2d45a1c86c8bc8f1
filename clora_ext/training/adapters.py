"""Adapters inside a model: peft's LoRA layers around the taught weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.linalg import complement
from clora_ext.adapters.sites import Target
from clora_ext.config.settings import Settings
from clora_ext.families.base import Model
from clora_ext.strategies.base import Start

__all__ = ["Adapters"]

_ADAPTER = "concept"


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's trainable parts, shaped as the module wants them."""

    down: nn.Parameter
    up: nn.Parameter
    closed: Tensor | None


class Adapters:
    """The trainable parts of every taught layer.

    Args:
        model: its modules are adapted in place.
        starts: the values to start from, by target.
        settings: rank and alpha.
        device: where the model lies.
    """

    def __init__(
        self, model: Model, starts: Mapping[Target, Start], settings: Settings, device: torch.device
    ) -> None:
        self._alpha = settings.adapter.effective_alpha
        self._layers: dict[str, _Layer] = {}
        self.components: list[nn.Module] = []
        by_component = sorted(starts, key=lambda target: target.component)
        for _, targets in groupby(by_component, key=lambda target: target.component):
            self._inject(model, {target: starts[target] for target in targets}, settings, device)

    def _inject(
        self, model: Model, starts: Mapping[Target, Start], settings: Settings, device: torch.device
    ) -> None:
        """Put LoRA layers around the targets of one component and give them the starts' values."""
        located = {target: model.locate(target) for target in starts}
        component = next(iter(located.values()))[0]
        config = LoraConfig(
            r=settings.adapter.rank,
            lora_alpha=self._alpha,  # type: ignore[arg-type]  # peft divides it; a fraction is fine
            target_modules=[path for _, path in located.values()],
        )
        inject_adapter_in_model(config, component, adapter_name=_ADAPTER)
        self.components.append(component)
        for target, start in starts.items():
            module = component.get_submodule(located[target][1])
            down: nn.Parameter = module.lora_A[_ADAPTER].weight  # type: ignore[index,union-attr]  # peft's own container
            up: nn.Parameter = module.lora_B[_ADAPTER].weight  # type: ignore[index,union-attr]
            for parameter, value in ((down, start.factors.down), (up, start.factors.up)):
                parameter.data = value.reshape(parameter.shape).to(device, torch.float32, copy=True)
            closed = None if start.closed is None else start.closed.to(device)
            self._layers[target.name] = _Layer(down, up, closed)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, by a name that is the same in every run."""
        return {
            f"{name}::{part}": getattr(layer, part)
            for name, layer in self._layers.items()
            for part in ("down", "up")
        }

    def project(self) -> None:
        """Take the closed directions out of every ``down`` again."""
        for layer in self._layers.values():
            if layer.closed is not None:
                matrix = layer.down.data.flatten(1)
                layer.down.data = complement(matrix, layer.closed).reshape(layer.down.shape)

    def factors(self) -> Iterator[tuple[str, Factors]]:
        """The trained factors by :attr:`Target.name`, as matrices, float32, on the processor."""
        for name, layer in self._layers.items():
            down, up = (part.detach().float().cpu().flatten(1).clone() for part in (layer.down, layer.up))
            yield name, Factors(down, up, self._alpha)
