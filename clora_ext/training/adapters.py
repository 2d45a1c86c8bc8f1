"""Adapters inside a model: peft's LoRA layers around the taught weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.config.settings import AdapterSettings
from clora_ext.families.base import Model
from clora_ext.strategies.base import Constraint

__all__ = ["AdapterStart", "Adapters"]

_ADAPTER = "concept"


@dataclass(frozen=True, slots=True)
class AdapterStart:
    """What a layer's adapter starts from, and what holds while it is trained."""

    factors: Factors
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer's trainable parts, shaped as the module wants them."""

    down: nn.Parameter
    up: nn.Parameter
    alpha: float
    constraint: Constraint | None

    def factors(self) -> Factors:
        """The parameters seen as matrices; gradients flow through."""
        return Factors(self.down.flatten(1), self.up.flatten(1), self.alpha)

    def project(self) -> None:
        """Make them what the constraint allows."""
        if self.constraint is None:
            return
        now = self.factors()
        allowed = self.constraint.project(Factors(now.down.detach(), now.up.detach(), now.alpha))
        self.down.data = allowed.down.reshape(self.down.shape)
        self.up.data = allowed.up.reshape(self.up.shape)


class Adapters:
    """The trainable parts of every taught layer.

    Args:
        model: its modules are adapted in place.
        starts: the values to start from, by target.
        settings: rank and alpha.
        device: where the model lies.
    """

    def __init__(
        self,
        model: Model,
        starts: Mapping[Target, AdapterStart],
        settings: AdapterSettings,
        device: torch.device,
    ) -> None:
        self._alpha = settings.effective_alpha
        self._layers: dict[str, _Layer] = {}
        self._modules: list[BaseTunerLayer] = []
        self.components: list[nn.Module] = []
        by_component = sorted(starts, key=lambda target: target.component)
        for _, targets in groupby(by_component, key=lambda target: target.component):
            self._inject(model, {target: starts[target] for target in targets}, settings.rank, device)

    def _inject(
        self, model: Model, starts: Mapping[Target, AdapterStart], rank: int, device: torch.device
    ) -> None:
        """Put LoRA layers around the targets of one component and give them the starts' values."""
        located = {target: model.locate(target) for target in starts}
        component = next(iter(located.values()))[0]
        config = LoraConfig(
            r=rank,
            lora_alpha=self._alpha,  # type: ignore[arg-type]  # peft divides it; a fraction is fine
            target_modules=[path for _, path in located.values()],
        )
        inject_adapter_in_model(config, component, adapter_name=_ADAPTER)
        self.components.append(component)
        for target, start in starts.items():
            module = component.get_submodule(located[target][1])
            assert isinstance(module, BaseTunerLayer)  # it has just been injected  # noqa: S101
            self._modules.append(module)
            down: nn.Parameter = module.lora_A[_ADAPTER].weight  # type: ignore[index,union-attr]  # peft's own container
            up: nn.Parameter = module.lora_B[_ADAPTER].weight  # type: ignore[index,union-attr]
            for parameter, value in ((down, start.factors.down), (up, start.factors.up)):
                parameter.data = value.reshape(parameter.shape).to(device, torch.float32, copy=True)
            constraint = None if start.constraint is None else start.constraint.to(device)
            self._layers[target.name] = _Layer(down, up, self._alpha, constraint)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, by a name that is the same in every run."""
        return {
            f"{name}::{part}": getattr(layer, part)
            for name, layer in self._layers.items()
            for part in ("down", "up")
        }

    def project(self) -> None:
        """Make every adapter what its constraint allows."""
        for layer in self._layers.values():
            layer.project()

    def penalty(self) -> Tensor | None:
        """The constraints' penalties together, a scalar; None: there are none."""
        constrained = (layer for layer in self._layers.values() if layer.constraint is not None)
        penalties = [layer.constraint.penalty(layer.factors()) for layer in constrained]  # type: ignore[union-attr]  # asked above
        found = [penalty for penalty in penalties if penalty is not None]
        return torch.stack(found).sum() if found else None

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """While it is entered, the network computes with the frozen weights alone."""
        for module in self._modules:
            module.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for module in self._modules:
                module.enable_adapters(enabled=True)

    def factors(self) -> Iterator[tuple[str, Factors]]:
        """The trained factors by :attr:`Target.name`, as matrices, float32, on the processor."""
        for name, layer in self._layers.items():
            down, up = (part.detach().float().cpu().flatten(1).clone() for part in (layer.down, layer.up))
            yield name, Factors(down, up, self._alpha)
