"""A network's weights shared out over processes: what each keeps, and that it computes the same."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed
from flow_families import FLOW_FAMILIES, family_id
from flow_family import FlowFamily, on_meta
from forked import finished, in_child
from torch import Tensor, nn

from clora_ext.families.sharded import blocks_of, own_bytes, shard

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.added = nn.Parameter(torch.randn(width))

    def forward(self, values: Tensor) -> Tensor:
        return values + torch.tanh(self.inner(values)) * self.added


class Network(nn.Module):
    """Three blocks between a first and a last layer; one number of each block is trained."""

    _no_split_modules = ("Block",)

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(3))
        self.last = nn.Linear(width, width)
        self.requires_grad_(requires_grad=False)
        for one in self.trained:
            one.requires_grad_()

    @property
    def trained(self) -> list[nn.Parameter]:
        return [one.added for one in self.blocks]

    def forward(self, values: Tensor) -> tuple[Tensor]:
        found = self.first(values)
        for one in self.blocks:
            found = one(found)
        return (self.last(found)[:, :2],)


def in_each(work: object, size: int, folder: Path) -> None:
    """Do it in so many processes of a group."""

    def process(rank: int) -> None:
        store = torch.distributed.FileStore(str(folder / "store"), size)
        torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
        work(rank)  # type: ignore[operator]
        torch.distributed.destroy_process_group()

    children = [in_child(lambda rank=rank: process(rank)) for rank in range(size)]  # type: ignore[misc]  # mypy: a default
    assert [finished(child) for child in children] == [0] * size


@needs_fork
@pytest.mark.filterwarnings("ignore")  # of forking
@pytest.mark.parametrize("size", [2, 3])
def test_answers_and_gradients_are_those_of_the_whole_network(size: int, tmp_path: Path) -> None:
    """In every order of passes that a training makes: with gradients, without, and two before a way back."""

    def work(rank: int) -> None:
        whole, parts = Network(), Network()
        shard(parts, torch.device("cpu"), parts.trained)
        for passes in ("g", "ng", "gg", "ngg", "nn", "g"):
            losses = [torch.zeros(()), torch.zeros(())]
            for number, kind in enumerate(passes):
                values = torch.randn(4, 6, generator=torch.Generator().manual_seed(9 * number + rank))
                with torch.set_grad_enabled(kind == "g"):
                    answers = [network(values)[0] for network in (whole, parts)]
                assert torch.equal(*answers)
                losses = [loss + one.square().sum() for loss, one in zip(losses, answers, strict=True)]
            if "g" in passes:
                found = [
                    torch.autograd.grad(loss, network.trained)
                    for loss, network in zip(losses, (whole, parts), strict=True)
                ]
                assert all(map(torch.equal, *found))

    in_each(work, size, tmp_path)


@needs_fork
@pytest.mark.filterwarnings("ignore")  # of forking
def test_a_process_keeps_its_part_and_what_is_trained(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        del rank
        network = Network()
        numbers = sum(one.numel() for one in network.parameters()) - 18
        shard(network, torch.device("cpu"), network.trained)
        for _ in range(2):
            assert own_bytes(network) == (4 * numbers // 2, 4 * numbers)
            assert [type(one) for one in network.trained] == [nn.Parameter] * 3
            network(torch.ones(1, 6))[0].sum().backward()
        assert all(one.grad is not None for one in network.trained)

    in_each(work, 2, tmp_path)


@pytest.mark.parametrize("family", FLOW_FAMILIES, ids=family_id)
def test_nearly_all_of_a_published_transformer_lies_in_many_blocks(family: FlowFamily) -> None:
    """What lies in none is there as a whole while the network computes."""
    for size in family.published.sizes:
        network = on_meta(size.transformer)
        blocks = blocks_of(network)
        sizes = [sum(one.numel() for one in block.parameters()) for block in blocks]
        every = sum(one.numel() for one in network.parameters())
        print(
            f"{size.name}: {len(blocks)} blocks, {1 - sum(sizes) / every:.1%} of it in none, "
            f"{max(sizes) / every:.1%} in the largest"
        )
        assert sum(sizes) > 0.9 * every
        assert max(sizes) < 0.08 * every
