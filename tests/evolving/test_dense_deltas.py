"""Changes that are no pair of factors: of whole matrices, of norms and biases."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from safetensors.torch import save_file
from small_folds import rng

from clora_ext import strategies
from clora_ext.adapters.delta import DenseDelta
from clora_ext.adapters.sites import Target
from clora_ext.errors import UsageError
from clora_ext.events import ignore
from clora_ext.evolving.fold import fold
from clora_ext.evolving.model import Evolving
from clora_ext.evolving.trained_concept import TrainedConcept
from clora_ext.formats.checkpoint import Checkpoint

TARGETS = {
    "norm.bias": Target("unet", "norm", "norm.bias", (300, 1)),
    "to_q.weight": Target("unet", "to_q", "to_q.weight", (330, 20)),
    "projection": Target("text", "projection", "projection", (30, 170), layout="transposed"),
}
CHANGES = {
    name: torch.randn(target.shape, generator=rng(seed)) * 0.01
    for seed, (name, target) in enumerate(TARGETS.items())
}


def evolving(folder: Path) -> Evolving:
    tensors = {
        "norm.bias": torch.randn(300, generator=rng(5)).half(),
        "to_q.weight": torch.randn(330, 20, generator=rng(6)).half(),
        "projection": torch.randn(170, 30, generator=rng(7)).half(),
    }
    save_file(tensors, folder / "base.safetensors")
    origin = Checkpoint(folder / "base.safetensors")
    return Evolving(origin, origin, None)


def folded(name: str, before: Evolving, folder: Path, number: int) -> Evolving:
    trained = {key: DenseDelta(change) for key, change in CHANGES.items()}
    concept = TrainedConcept(strategies.load(name), name, TARGETS, trained)
    files = folder / f"model{number}.safetensors", folder / f"memory{number}.safetensors"
    fold(before, concept, *files, {}, ignore)
    return Evolving(before.origin, *map(Checkpoint, files))


def test_every_tensor_takes_exactly_its_change(tmp_path: Path) -> None:
    """Twice: what rounding loses of the first is there for the second."""

    def check(name: str) -> None:
        folder = empty_folder(tmp_path)
        base = evolving(folder)
        first = folded(name, base, folder, 1)
        second = folded(name, first, folder, 2)
        for key, change in CHANGES.items():
            origin = base.weight(key)
            stored = change.T if TARGETS[key].layout == "transposed" else change.reshape(origin.shape)
            once = origin + stored
            torch.testing.assert_close(first.weight(key), once, rtol=0, atol=1e-6)
            twice = once if name == "mask" else once + stored
            torch.testing.assert_close(second.weight(key), twice, rtol=0, atol=1e-6)

    check_each(["merge", "mask", "orthogonal"], check)


def test_a_transposed_tensor_is_seen_as_its_module_has_it(tmp_path: Path) -> None:
    model, target = evolving(tmp_path), TARGETS["projection"]
    stored = model.weight("projection")
    layer = model.layer(target, "")
    assert layer.shape == target.shape
    assert torch.equal(layer.current, stored.T)
    assert torch.equal(layer.origin, stored.T)
    assert torch.equal(model.matrix_rows(target, 3, 20), stored.T[3:20])


def test_rows_of_a_part_of_a_tensor_are_counted_in_the_part(tmp_path: Path) -> None:
    model, part = evolving(tmp_path), replace(TARGETS["to_q.weight"], shape=(230, 20), rows=(100, 330))
    assert torch.equal(model.matrix_rows(part, 3, 20), model.weight("to_q.weight")[103:120])


def test_a_strategy_that_keeps_one_adapter_refuses_them_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a pair of low-rank factors"):
        folded("naive", evolving(tmp_path), tmp_path, 1)
    assert not (tmp_path / "model1.safetensors").exists()
