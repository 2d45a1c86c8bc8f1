"""Adapters inside a model: peft's LoRA layers around the taught weights."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from clora_ext.adapters.decomposed import TrainedDecomposition
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.config.processes import ALONE, Place
from clora_ext.config.settings import NetworkSettings
from clora_ext.errors import UsageError
from clora_ext.families.model import Model
from clora_ext.strategies.base import Constraint

from .dropout import Dropout
from .magnitudes import Magnitudes

__all__ = ["AdapterStart", "Adapters", "limit_norm"]

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
    component: str
    magnitudes: Magnitudes | None = None

    @property
    def parts(self) -> dict[str, nn.Parameter]:
        """What is trained of it, by name."""
        found = {"down": self.down, "up": self.up}
        return found if self.magnitudes is None else {**found, "magnitude": self.magnitudes.parameter}

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

    def penalty(self) -> Tensor | None:
        """The constraint's, a scalar; None: there is none."""
        if self.constraint is None:
            return None
        if self.magnitudes is None:
            return self.constraint.penalty(self.factors())
        return self.magnitudes.penalty(self.factors(), self.constraint.penalty_of_change)

    def learned(self) -> Factors | TrainedDecomposition:
        """As matrices, float32, on the processor."""
        down, up = (part.detach().float().cpu().flatten(1).clone() for part in (self.down, self.up))
        factors = Factors(down, up, self.alpha)
        return factors if self.magnitudes is None else self.magnitudes.learned(factors)


def limit_norm(up: Tensor, down: Tensor, alpha: float, most: float) -> None:
    """Shrink both halves in place, alike, if the norm of their change is above ``most``, as sd-scripts does.

    Args:
        up: (out, rank), or of a convolution with two axes of 1 more.
        down: (rank, in), or of a convolution (rank, in, height, width).
        alpha: of the adapter.
        most: Frobenius norm of alpha / rank * up @ down.
    """
    rank = down.shape[0]
    # |B A|^2 = tr((B^T B)(A A^T)): both are as small as the rank.
    outer, inner = up.flatten(1).T @ up.flatten(1), down.flatten(1) @ down.flatten(1).T
    norm = alpha / rank * (outer * inner).sum().clamp(min=0).sqrt()
    shrunk = (most / norm).clamp(max=1).sqrt()
    up.mul_(shrunk)
    down.mul_(shrunk)


def _check_free(constraint: Constraint) -> None:
    """Refuse a constraint that would have to project magnitudes, of a strategy that has not said so."""
    if type(constraint).project is not Constraint.project:
        message = f"{type(constraint).__name__} projects pairs of factors, and --dora trains more than those"
        raise UsageError(message, fix="leave --dora out, or let the strategy say that it projects")


_PLAIN = NetworkSettings()


class Adapters:
    """The trainable parts of every taught layer.

    Args:
        model: its modules are adapted in place.
        starts: the values to start from, by target.
        device: where the model lies.
        network: what holds the adapters back.
        seed: of the run.
        place: of this process in its job.
    """

    def __init__(
        self,
        model: Model,
        starts: Mapping[Target, AdapterStart],
        device: torch.device,
        network: NetworkSettings = _PLAIN,
        seed: int = 0,
        place: Place = ALONE,
    ) -> None:
        self._place = place
        self._dropout = Dropout(network, seed, place) if network.drops else None
        self._most = network.scale_weight_norms
        self._decomposed = network.dora
        self._layers: dict[str, _Layer] = {}
        self._modules: list[BaseTunerLayer] = []
        self.components: list[nn.Module] = []
        by_component = sorted(starts, key=lambda target: target.component)
        for _, targets in groupby(by_component, key=lambda target: target.component):
            self._inject(model, {target: starts[target] for target in targets}, device)

    def _inject(self, model: Model, starts: Mapping[Target, AdapterStart], device: torch.device) -> None:
        """Put LoRA layers around the targets of one component and give them the starts' values."""
        located = {target: model.locate(target) for target in starts}
        component = next(iter(located.values()))[0]
        paths = {re.escape(path): starts[target].factors for target, (_, path) in located.items()}
        config = LoraConfig(
            target_modules=[path for _, path in located.values()],
            rank_pattern={path: factors.rank for path, factors in paths.items()},
            alpha_pattern={path: factors.alpha for path, factors in paths.items()},
            use_dora=self._decomposed,
        )
        inject_adapter_in_model(config, component, adapter_name=_ADAPTER)
        self.components.append(component)
        for target, start in starts.items():
            module = component.get_submodule(located[target][1])
            assert isinstance(module, BaseTunerLayer)  # it has just been injected  # noqa: S101
            self._modules.append(module)
            down_half: nn.Module = module.lora_A[_ADAPTER]  # type: ignore[index,assignment]  # peft's own container
            down: nn.Parameter = down_half.weight  # type: ignore[assignment]
            if self._dropout is not None:
                self._dropout.attach(target.name, down_half)
            up: nn.Parameter = module.lora_B[_ADAPTER].weight  # type: ignore[index,union-attr]
            for parameter, value in ((down, start.factors.down), (up, start.factors.up)):
                parameter.data = value.reshape(parameter.shape).to(device, torch.float32, copy=True)
            constraint = None if start.constraint is None else start.constraint.to(device)
            if self._decomposed and constraint is not None:
                _check_free(constraint)
            magnitudes = Magnitudes.of(module, _ADAPTER, start.factors) if self._decomposed else None
            if magnitudes is not None and self._dropout is not None:
                self._dropout.attach_layer(target.name, magnitudes.computes)
            alpha = start.factors.alpha
            self._layers[target.name] = _Layer(down, up, alpha, constraint, target.component, magnitudes)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained, by a name that is the same in every run."""
        return {
            f"{name}::{part}": parameter
            for name, layer in self._layers.items()
            for part, parameter in layer.parts.items()
        }

    @property
    def magnitudes(self) -> dict[str, nn.Parameter]:
        """Those of them that are magnitudes, and no halves of a pair."""
        return self._of_parts("magnitude")

    @property
    def pairs(self) -> dict[str, nn.Parameter]:
        """All others."""
        return self._of_parts("down", "up")

    def _of_parts(self, *parts: str) -> dict[str, nn.Parameter]:
        return {name: one for name, one in self.parameters.items() if name.rpartition("::")[2] in parts}

    @property
    def groups(self) -> Mapping[tuple[str, str], dict[str, nn.Parameter]]:
        """The same by component and part: ``down``, ``up``, or ``magnitude`` where there are any."""
        found: dict[tuple[str, str], dict[str, nn.Parameter]] = {}
        for name, layer in self._layers.items():
            for part, parameter in layer.parts.items():
                group = found.setdefault((layer.component, part), {})
                group[f"{name}::{part}"] = parameter
        return found

    def hold(self) -> None:
        """Make every adapter what its constraint allows, and no larger than the settings do."""
        for layer in self._layers.values():
            layer.project()
            if self._most is not None:
                limit_norm(layer.up.data, layer.down.data, layer.alpha, self._most)

    def trained_on(self, batch: int) -> AbstractContextManager[None]:
        """While it is entered, this batch (from 0) is trained on: parts of the adapters are left out."""
        return nullcontext() if self._dropout is None else self._dropout.at(batch)

    def penalty(self) -> Tensor | None:
        """The constraints' penalties together, a scalar; None: there are none.

        Of several processes each computes those of its layers: the mean of what they give is all of them.
        """
        constrained = [layer for layer in self._layers.values() if layer.constraint is not None]
        part = self._place.part(len(constrained))
        own = constrained[part.start : part.stop]
        penalties = [layer.penalty() for layer in own]
        found = [penalty for penalty in penalties if penalty is not None]
        if not found:
            return None
        total = torch.stack(found).sum()
        return total if self._place.is_alone else total * self._place.size

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

    @contextmanager
    def as_begun(self, started: Mapping[str, Factors]) -> Iterator[None]:
        """While it is entered, the adapters are what they were before the training.

        Args:
            started: those that did not begin as nothing, by :attr:`Target.name`.
        """
        learned = {name: [one.data for one in layer.parts.values()] for name, layer in self._layers.items()}
        for name, layer in self._layers.items():
            if name in started:
                layer.down.data = started[name].down.reshape(layer.down.shape).to(layer.down)
                layer.up.data = started[name].up.reshape(layer.up.shape).to(layer.up)
            else:
                layer.up.data = torch.zeros_like(layer.up.data)
            if layer.magnitudes is not None:
                layer.magnitudes.parameter.data = layer.magnitudes.began
        try:
            yield
        finally:
            for name, values in learned.items():
                for one, value in zip(self._layers[name].parts.values(), values, strict=True):
                    one.data = value

    def learned(self) -> Iterator[tuple[str, Factors | TrainedDecomposition]]:
        """What was trained by :attr:`Target.name`, as matrices, float32, on the processor."""
        for name, layer in self._layers.items():
            yield name, layer.learned()
