"""Rows of a text encoder's table that learn: only they, and exactly what is folded."""

from dataclasses import replace

import pytest
import torch
from tiny_model import write_tiny_model
from torch import Tensor

from clora_ext.config.precision import pick_precision
from clora_ext.families import detect
from clora_ext.families.model import Model, SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.training.token_rows import TokenRows

CUT = SizeConditioning((32, 32), (0, 0), (32, 32))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors"))


def states(model: Model, prompt: str) -> Tensor:
    return model.condition([prompt], [CUT])["states"]


def test_the_changed_row_is_read_as_if_it_stood_in_the_table(base: Checkpoint) -> None:
    family = detect(base.header, base.path)
    model, other = family.load(base, pick_precision()), family.load(base, pick_precision())
    (table,) = family.token_tables(base.header)
    (token,) = model.tokens("sks")
    before, elsewhere = states(model, "a photo of sks dog").clone(), states(model, "a photo of dog").clone()
    rows = TokenRows(model, {replace(table, rows=(token, token + 1), shape=(1, table.shape[1])): token},
                     torch.device("cpu"))  # fmt: skip
    assert torch.equal(states(model, "a photo of sks dog"), before)
    (offset,) = rows.parameters.values()
    states(model, "a photo of sks dog").sum().backward()
    assert offset.grad is not None
    assert offset.grad.abs().max() > 0
    with torch.no_grad():
        offset += torch.randn(offset.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(states(model, "a photo of dog"), elsewhere)
    ((name, delta),) = rows.deltas()
    assert name == f"{table.tensor}[{token}:{token + 1}]"
    encoder, path = other.locate(table)
    with torch.no_grad():
        encoder.get_submodule(path).weight[token] += delta.delta()[0]
    torch.testing.assert_close(states(model, "a photo of sks dog"), states(other, "a photo of sks dog"))
    assert not torch.equal(states(model, "a photo of sks dog"), before)


def test_nothing_else_learns(base: Checkpoint) -> None:
    family = detect(base.header, base.path)
    model = family.load(base, pick_precision())
    (table,) = family.token_tables(base.header)
    rows = TokenRows(model, {replace(table, rows=(5, 6), shape=(1, table.shape[1])): 5}, torch.device("cpu"))
    (component,) = rows.components
    assert not [name for name, one in component.named_parameters() if one.requires_grad]
