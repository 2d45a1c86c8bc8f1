"""The trigger's own rows in the text encoders' tables of tokens, trained beside the adapter.

A concept gets an address of its own: textual inversion (arXiv 2208.01618) within the same training. peft's
layer for this copies the whole table, 150 MB in CLIP-L, in every forward pass; this one adds what the few
rows have learned to what the table gives.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from clora_ext.adapters.delta import DenseDelta
from clora_ext.adapters.sites import Target
from clora_ext.families.model import Model

__all__ = ["TokenRows"]


class TokenRows:
    """What is added to some rows of the text encoders' tables of tokens.

    Args:
        model: its text encoders read the changed rows from now on.
        rows: the targets of a table's rows, each one row, by the token whose row it is; of every encoder.
        device: where the model lies.
    """

    def __init__(self, model: Model, rows: Mapping[Target, int], device: torch.device) -> None:
        self.parameters: dict[str, nn.Parameter] = {}
        self.components: list[nn.Module] = []
        tables: dict[nn.Module, list[tuple[int, nn.Parameter]]] = {}
        for target, token in rows.items():
            component, path = model.locate(target)
            offset = nn.Parameter(torch.zeros(target.shape[1], device=device))
            self.parameters[f"{target.name}::row"] = offset
            tables.setdefault(component.get_submodule(path), []).append((token, offset))
            if component not in self.components:
                self.components.append(component)
        self._targets = tuple(rows)
        for table, changed in tables.items():
            table.register_forward_hook(_adding(changed))

    def deltas(self) -> Iterator[tuple[str, DenseDelta]]:
        """What the rows have learned by :attr:`Target.name`, (1, width), float32, on the processor."""
        for target, offset in zip(self._targets, self.parameters.values(), strict=True):
            yield target.name, DenseDelta(offset.detach().float().cpu().clone()[None])


def _adding(changed: Sequence[tuple[int, nn.Parameter]]) -> Callable[..., Tensor]:
    """A hook that adds each offset wherever its token was looked up."""

    def add(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        del module
        read = arguments[0].unsqueeze(-1)
        places = [(read == token) * offset.to(output.dtype) for token, offset in changed]
        return torch.stack([output, *places]).sum(dim=0)

    return add
