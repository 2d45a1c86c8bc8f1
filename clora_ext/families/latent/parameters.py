"""What of a checkpoint an adapter may change, by a component's key table. Needs no torch."""

from collections.abc import Callable, Iterator
from math import prod

from clora_ext.adapters.sites import Layout, Target
from clora_ext.errors import CheckpointError
from clora_ext.families.components import Component
from clora_ext.formats.header import Header, TensorInfo
from clora_ext.formats.keys import KeyTable
from clora_ext.formats.leftovers import is_leftover

__all__ = ["parameters_of"]

_NUMBERS = {"F64", "F32", "F16", "BF16"}


def parameters_of(
    header: Header, table: KeyTable, component: Component, read_by: Callable[[str], str]
) -> Iterator[Target]:
    """Of one component: every tensor of numbers that the table has a place for.

    Args:
        header: of the checkpoint.
        table: the component's.
        component: whose parameters they are.
        read_by: what a layer's input is called where other layers read the same; empty: its own.
    """
    is_denoiser = component.role == "denoiser"
    for tensor, info in header.tensors.items():
        inside = tensor.removeprefix(table.prefix)
        if inside == tensor or not _holds_parameters(info) or is_leftover(table.component, inside):
            continue
        try:
            parameters = table.parameters(tensor)
        except CheckpointError:
            continue  # of no layer; whether it may be there at all is asked when the model is loaded
        height = info.shape[0] // len(parameters)
        layout: Layout = "vector" if len(info.shape) == 1 else "matrix"
        if inside in table.transposed:
            layout = "transposed"
        matrix = (height, prod(info.shape[1:]))
        kernel = (info.shape[2], info.shape[3]) if len(info.shape) == 4 else None  # noqa: PLR2004
        original = inside.rpartition(".")[0]
        for place, parameter in enumerate(parameters):
            module, _, leaf = parameter.rpartition(".")
            if inside in table.swapped:
                module = original  # as it is stored: by the module's name it would be other rows
            yield Target(
                table.component,
                module,
                tensor,
                matrix if layout != "transposed" else (matrix[1], matrix[0]),
                kernel,
                (place * height, (place + 1) * height) if len(parameters) > 1 else None,
                original if is_denoiser else module,
                "bias" if leaf == "bias" else "weight",
                layout,
                read_by(module),
            )


def _holds_parameters(info: TensorInfo) -> bool:
    """Whether a tensor is what a layer, a norm or a bias is made of; the positions' numbers are not."""
    return len(info.shape) in {1, 2, 4} and info.dtype in _NUMBERS
