"""A concept's change in a file: the very bits come back, and by them the model from before."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import check_each
from safetensors.torch import load_file, save_file
from small_folds import RANK, TARGETS, adapters, memory_of, rng, start, taught

from clora_ext import strategies
from clora_ext.adapters.delta import Delta, DenseDelta
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.products import HadamardDelta
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.events import ignore
from clora_ext.evolving.fold import fold
from clora_ext.evolving.kept_delta import delta_bytes, read_delta, write_delta
from clora_ext.evolving.model import Evolving
from clora_ext.evolving.trained_concept import TrainedConcept
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.prompts.concept_prompts import ConceptPrompts

TABLE = Target("text", "embedding", "embedding.weight", (50, 12))
ROW = replace(TABLE, rows=(7, 8), shape=(1, 12))
TURNED = Target("text", "projection", "projection", (30, 170), layout="transposed")
NORM = Target("unet", "norm", "norm.bias", (300, 1), layout="vector")
KNOWN = (*TARGETS.values(), TABLE, TURNED, NORM)


def factors(target: Target, seed: int, alpha: float = 1 / 3) -> Factors:
    out, columns = target.shape
    down, up = (
        torch.randn(RANK, columns, generator=rng(seed)),
        torch.randn(out, RANK, generator=rng(seed + 9)),
    )
    return Factors(down, up, alpha)


def changes() -> dict[Target, Delta]:
    first, second, third = TARGETS.values()
    return {
        first: factors(first, 1),
        second: HadamardDelta(factors(second, 2), factors(second, 3), 0.7),
        third: factors(third, 4, alpha=8.0).scaled(0.3),
        ROW: DenseDelta(torch.randn(1, 12, generator=rng(5))),
        TURNED: factors(TURNED, 6),
        NORM: DenseDelta(torch.randn(300, 1, generator=rng(7))),
    }


def concept(trained: dict[Target, Delta]) -> TrainedConcept:
    targets = {target.name: target for target in trained}
    return TrainedConcept(
        strategies.load("merge"), "merge", targets, {target.name: delta for target, delta in trained.items()}
    )


def test_every_kind_of_change_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = changes()
    write_delta(tmp_path / "delta.safetensors", concept(written))
    read = read_delta(Checkpoint(tmp_path / "delta.safetensors"), KNOWN)
    assert set(read) == set(written)
    for target, delta in written.items():
        assert torch.equal(read[target].delta(), delta.delta()), target.name
        assert isinstance(read[target], Factors) == isinstance(delta, Factors)
        if target.shape[0] > 64:
            assert torch.equal(read[target].rows(64, 100).delta(), delta.rows(64, 100).delta())


def test_the_estimate_is_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "delta.safetensors"
    write_delta(file, concept(changes()))
    tensors = sum(info.bytes for info in Checkpoint(file).header.tensors.values())
    assert delta_bytes(changes()) == tensors
    assert delta_bytes(dict.fromkeys(TARGETS.values(), RANK)) == delta_bytes(
        {target: factors(target, 0) for target in TARGETS.values()}
    )


def test_a_value_that_is_not_finite_is_not_kept(tmp_path: Path) -> None:
    broken: dict[Target, Delta] = {NORM: DenseDelta(torch.full((300, 1), torch.inf))}
    with pytest.raises(CheckpointError, match="not finite"):
        write_delta(tmp_path / "delta.safetensors", concept(broken))
    assert list(tmp_path.iterdir()) == []


def test_another_models_change_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "delta.safetensors"
    write_delta(file, concept(changes()))
    tensors = load_file(file)
    name = next(iter(TARGETS))

    def check(case: tuple[str, torch.Tensor | None]) -> None:
        key, value = case
        others = {n: t for n, t in tensors.items() if n != key} | ({} if value is None else {key: value})
        save_file(others, tmp_path / "other.safetensors")
        with pytest.raises(CheckpointError, match=r"other\.safetensors"):
            read_delta(Checkpoint(tmp_path / "other.safetensors"), KNOWN)

    cases = [
        ("unknown.weight::change", torch.ones(2, 2)),
        ("norm.bias::change", torch.ones(299, 1)),
        ("norm.bias::change", torch.ones(300, 1).half()),
        (f"{name}::down", None),
        (f"{name}::down", torch.ones(RANK, 3)),
        (f"{name}::up", torch.ones(16, RANK + 1)),
    ]
    check_each(cases, check)


def test_what_is_carried_is_what_the_strategy_had_kept(tmp_path: Path) -> None:
    """naive goes on from its one adapter after a change that is nobody's concept."""
    learned = taught(start(tmp_path), "naive", adapters(1), tmp_path, 1)
    words = (ConceptPrompts("sks", "dog", ("a photo of sks dog",)),)
    name, target = next(iter(TARGETS.items()))
    step = replace(
        concept({target: factors(target, 5).scaled(1e-3)}), carries_memory=True, prompts=words, imported=True
    )
    files = tmp_path / "current.safetensors", tmp_path / "memory.safetensors"
    fold(learned, step, *files, {}, ignore)
    after = Evolving(learned.origin, *map(Checkpoint, files))
    assert after.strategy == "naive"
    assert after.prompts("naive") == words
    assert set(after.strategy_parts) == set(learned.strategy_parts) != set()
    for part in learned.strategy_parts:
        assert torch.equal(memory_of(after).read(part), memory_of(learned).read(part))
    expected = learned.weight(name) + step.trained[name].delta()
    torch.testing.assert_close(after.weight(name), expected, rtol=0, atol=1e-7)
    again = taught(after, "naive", adapters(3), tmp_path, 2)
    replaced = expected - adapters(1)[name].delta() + adapters(3)[name].delta()
    torch.testing.assert_close(again.weight(name), replaced, rtol=0, atol=1e-6)
