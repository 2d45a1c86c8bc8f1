"""Folding of whole checkpoints: exact over a hundred concepts, the rest as bytes, in little memory."""

import shutil
from dataclasses import dataclass, replace
from itertools import product
from math import nan
from pathlib import Path

import pytest
import torch
from cases import check_each, empty_folder
from safetensors.torch import save_file
from small_folds import ALPHA, RANK, SHAPES, TARGETS, adapters, start, taught

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.errors import Cancelled, CheckpointError, StorageError
from clora_ext.events import FoldStep, ignore
from clora_ext.evolving import tensor_pair
from clora_ext.evolving.fold import TrainedConcept, fold
from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.strategies.base import Fold, Layer, Start, Strategy

DTYPES = [torch.float16, torch.bfloat16, torch.float32]


@pytest.mark.long
def test_a_hundred_merges_stay_exact_and_the_file_is_one_rounding(tmp_path: Path) -> None:
    def check(dtype: torch.dtype) -> None:
        folder = empty_folder(tmp_path)
        evolving = start(folder, dtype)
        exact = {name: evolving.origin.read(name).double() for name in SHAPES}
        for number in range(100):
            trained = adapters(2 * number)
            evolving = taught(evolving, "merge", trained, folder, number % 2)
            for name, factors in trained.items():
                exact[name] += ALPHA / RANK * factors.up.double() @ factors.down.double()
        for name in SHAPES:
            change = (exact[name] - evolving.origin.read(name).double()).norm()
            assert float((evolving.weight(name).double() - exact[name]).norm() / change) < 1e-4
            assert torch.equal(evolving.current.read(name), evolving.weight(name).to(dtype))

    check_each(DTYPES, check)


@pytest.mark.long
def test_streamed_folds_equal_folds_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, but for the last digit that a residual of two bytes may lack."""
    monkeypatch.setattr(tensor_pair, "_BLOCK", 1)  # one tile at a time: a layer of 330 rows is in six parts

    def check(case: tuple[str, torch.dtype]) -> None:
        name, dtype = case
        folder = empty_folder(tmp_path)
        strategy = strategies.load(name)
        evolving = start(folder, dtype)
        for number in range(3):
            trained = adapters(5 * number)
            layers = {key: evolving.layer(TARGETS[key], name) for key in SHAPES}
            evolving = taught(evolving, name, trained, folder, number)
            for key, layer in layers.items():
                fold_ = strategy.fold(layer, trained[key])
                assert torch.equal(evolving.current.read(key), fold_.weight.to(dtype))
                missed = (evolving.weight(key) - fold_.weight).abs()
                if dtype == torch.bfloat16:
                    assert bool((missed <= 2**-23 * fold_.weight.abs()).all())
                else:
                    assert float(missed.max()) <= (2**-40 if dtype == torch.float16 else 0)
                    assert not missed[fold_.weight.abs() >= 2**-15].any()
                seen = evolving.layer(TARGETS[key], name).memory
                assert seen.keys() == fold_.memory.keys()
                assert all(torch.equal(seen[part], fold_.memory[part]) for part in seen)

    check_each(product(strategies.names(), [*DTYPES, torch.float64]), check)


def test_what_is_not_taught_passes_through_byte_for_byte(tmp_path: Path) -> None:
    evolving = start(tmp_path)
    once = taught(evolving, "mask", adapters(0), tmp_path, 1)
    for name in ("conv.weight", "position_ids"):
        assert b"".join(once.current.chunks(name)) == b"".join(evolving.origin.chunks(name))
    assert once.current.names == evolving.origin.names
    assert once.current.header.metadata == evolving.origin.header.metadata


def test_layers_taught_earlier_but_not_now_keep_their_exact_weight(tmp_path: Path) -> None:
    once = taught(start(tmp_path), "merge", adapters(0), tmp_path, 1)
    only = {"a.to_q.weight": adapters(9)["a.to_q.weight"]}
    twice = taught(once, "merge", only, tmp_path, 2)
    assert torch.equal(twice.weight("b.to_k.weight"), once.weight("b.to_k.weight"))
    assert not torch.equal(twice.weight("b.to_k.weight"), twice.current.read_float("b.to_k.weight"))
    assert not torch.equal(twice.weight("a.to_q.weight"), once.weight("a.to_q.weight"))


def test_a_strategy_that_adds_does_not_read_the_base(tmp_path: Path) -> None:
    once = taught(start(tmp_path), "merge", adapters(0), tmp_path, 1)
    expected = taught(once, "merge", adapters(9), tmp_path, 2)
    alone = taught(replace(once, origin=None), "merge", adapters(9), tmp_path, 3)
    for name in SHAPES:
        assert torch.equal(alone.weight(name), expected.weight(name))


def test_stopping_while_folding_leaves_no_file(tmp_path: Path) -> None:
    evolving = start(tmp_path)
    concept = TrainedConcept(strategies.load("merge"), "merge", TARGETS, adapters(0))

    def stop(event: object) -> None:
        assert isinstance(event, FoldStep)
        raise Cancelled

    with pytest.raises(Cancelled):
        fold(evolving, concept, tmp_path / "c.safetensors", tmp_path / "m.safetensors", {}, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["base.safetensors"]


@dataclass(frozen=True)
class Watched(Strategy):
    """A strategy that says nothing of rows, or does, and notes what it is given."""

    seen: list[int]
    rowwise: bool

    def begin(self, layer: Layer, rank: int, alpha: float, rng: torch.Generator) -> Start:
        raise NotImplementedError

    def fold(self, layer: Layer, trained: Factors) -> Fold:
        self.seen.append(layer.current.numel())
        return Fold(layer.current + trained.delta())


def test_only_a_rowwise_strategy_is_given_parts_and_they_are_small_however_large_the_layer(
    tmp_path: Path,
) -> None:
    shape = (5120, 640)
    save_file({"w": torch.zeros(shape, dtype=torch.float16)}, tmp_path / "base.safetensors")
    origin = Checkpoint(tmp_path / "base.safetensors")
    factors = Factors(torch.ones(1, 640), torch.arange(5120.0)[:, None] / 5120, 1.0)
    for rowwise in (True, False):
        watched = Watched([], rowwise)
        concept = TrainedConcept(watched, "watched", {"w": Target("unet", "w", "w", shape)}, {"w": factors})
        files = (tmp_path / "c.safetensors", tmp_path / "m.safetensors")
        fold(Evolving(origin, origin, None), concept, *files, {}, ignore)
        assert sum(watched.seen) == 5120 * 640
        assert len(watched.seen) == 1 or max(watched.seen) <= tensor_pair._BLOCK
        assert (len(watched.seen) == 1) != rowwise
        assert torch.equal(Checkpoint(files[0]).read("w"), factors.delta().half())


def test_room_for_both_files_is_asked_for_before_either_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evolving = start(tmp_path)
    concept = TrainedConcept(strategies.load("naive"), "naive", TARGETS, adapters(0))
    files = (tmp_path / "c.safetensors", tmp_path / "m.safetensors")
    fold(evolving, concept, *files, {}, ignore)
    needed = sum(file.stat().st_size for file in files)
    for file in files:
        file.unlink()
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=needed - 1))
    with pytest.raises(StorageError, match=f"{needed:,} bytes are needed, {needed - 1:,} bytes are free"):
        fold(evolving, concept, *files, {}, ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["base.safetensors"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=needed))
    fold(evolving, concept, *files, {}, ignore)


def test_every_tensor_is_reported_once_and_torch_has_its_threads_back(tmp_path: Path) -> None:
    evolving = start(tmp_path)
    threads = torch.get_num_threads()
    steps: list[object] = []
    concept = TrainedConcept(strategies.load("merge"), "merge", TARGETS, adapters(0))
    fold(evolving, concept, tmp_path / "c.safetensors", tmp_path / "m.safetensors", {}, steps.append)
    names = Checkpoint(tmp_path / "c.safetensors").names
    assert steps == [FoldStep(i, len(names), name) for i, name in enumerate(names, start=1)]
    assert torch.get_num_threads() == threads


def test_values_that_do_not_fit_leave_no_file(tmp_path: Path) -> None:
    def check(bad: float) -> None:
        folder = empty_folder(tmp_path)
        trained = adapters(0)
        trained["c.ff.weight"].up[300, 1] = bad
        concept = TrainedConcept(strategies.load("merge"), "merge", TARGETS, trained)
        with pytest.raises(CheckpointError, match=r"c\.ff\.weight.*not finite"):
            fold(start(folder), concept, folder / "c.safetensors", folder / "m.safetensors", {}, ignore)
        assert [path.name for path in folder.iterdir()] == ["base.safetensors"]

    check_each([nan, 1e9], check)
