"""A network's frozen weights shared out over the processes of a job, by torch's FSDP2."""

from collections.abc import Iterable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

__all__ = ["blocks_of", "can_shard", "own_bytes", "shard"]


def can_shard() -> bool:
    """Whether this torch can leave single parameters whole: 2.7 and newer."""
    from torch.distributed.fsdp import fully_shard

    return "ignored_params" in signature(fully_shard).parameters


def blocks_of(network: Any) -> list[nn.Module]:  # noqa: ANN401 - each family's is of another class of diffusers
    """Those that are gathered one at a time, the outer ones first; what lies in none makes one more."""
    kinds = set(network._no_split_modules)  # noqa: SLF001 - as accelerate reads it
    return [one for one in network.modules() if type(one).__name__ in kinds]


def shard(network: Any, device: torch.device, whole: Iterable[nn.Parameter]) -> None:  # noqa: ANN401 - each family's is of another class of diffusers
    """Leave each process its part of every weight, in place; a block has all of its own while it computes.

    They go to the device block by block, and all parts of a block are gathered again for the gradient: a
    process needs its part of the network, and two blocks. What is computed is the same, bit for bit.

    Not accelerate's ``fsdp2_prepare_model``: it wants an ``Accelerator``, whose state is the whole process's,
    and can leave out modules, where here single parameters inside of blocks stay whole. The blocks are those
    that it would take.

    Args:
        network: frozen, on the processor; equal in all processes, which all call this.
        device: where it computes.
        whole: parameters inside that stay as they are.
    """
    from torch.distributed import get_world_size
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (get_world_size(),))
    kept = set(whole)
    network.register_forward_hook(lambda module, given, found: tree_map(_on_its_own, found))
    for module in (*reversed(blocks_of(network)), network):  # the inner ones first
        fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=kept)


def _on_its_own(found: Any) -> Any:  # noqa: ANN401 - whatever networks give
    """No view of another tensor: what is computed in place of one gathers no weights on the way back."""
    is_view = isinstance(found, Tensor) and found._base is not None  # noqa: SLF001 - torch has no other way
    return found.clone() if is_view else found


def own_bytes(network: nn.Module) -> tuple[int, int]:
    """Bytes of the weights that were shared out: how many this process keeps, and how many there are."""
    from torch.distributed.tensor import DTensor

    shared = [one for one in network.parameters() if isinstance(one, DTensor)]
    own, every = (
        sum(one.numel() * one.element_size() for one in some)
        for some in (map(DTensor.to_local, shared), shared)
    )
    return own, every
