"""Layers that are rows of a tensor, and convolutions."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_folds import rng

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.sites import Target
from clora_ext.errors import CheckpointError
from clora_ext.events import ignore
from clora_ext.evolving.fold import TrainedConcept, fold
from clora_ext.evolving.model import Evolving
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.stored import raw

FUSED = {
    "in_proj_weight[4:12]": Target("unet", "attn.k", "in_proj_weight", (8, 10), rows=(4, 12)),
    "in_proj_weight[12:16]": Target("unet", "attn.v", "in_proj_weight", (4, 10), rows=(12, 16)),
    "conv.weight": Target("unet", "conv", "conv.weight", (6, 36)),
}


def fused_base(folder: Path) -> Evolving:
    """Rows of one tensor are layers of their own, the first four and the last two none; and a convolution."""
    tensors = {"in_proj_weight": torch.randn(18, 10, generator=rng(1)).half() * 0.05}
    tensors["in_proj_weight"][0, :2] = torch.tensor([-0.0, 1e-7])
    tensors["conv.weight"] = torch.randn(6, 4, 3, 3, generator=rng(2)).half() * 0.05
    save_file(tensors, folder / "base.safetensors")
    return Evolving(Checkpoint(folder / "base.safetensors"), Checkpoint(folder / "base.safetensors"), None)


def fused_adapters(seed: int) -> dict[str, Factors]:
    return {
        name: Factors(
            torch.randn(2, target.shape[1], generator=rng(seed + i)) * 0.1,
            torch.randn(target.shape[0], 2, generator=rng(seed + 50 + i)) * 0.1,
            1.0,
        )
        for i, (name, target) in enumerate(FUSED.items())
    }


@pytest.mark.parametrize("name", ["merge", "naive"])
def test_rows_of_a_tensor_are_layers_of_their_own(tmp_path: Path, name: str) -> None:
    before = fused_base(tmp_path)
    evolving = before
    exact = {key: before.weight(key).clone() for key in ("in_proj_weight", "conv.weight")}
    for number in range(3):
        trained = fused_adapters(number)
        targets = FUSED if number else {k: t for k, t in FUSED.items() if "12:16" not in k}
        chosen = {key: trained[key] for key in targets}
        concept = TrainedConcept(strategies.load(name), name, targets, chosen)
        files = [tmp_path / f"{kind}{number}.safetensors" for kind in ("current", "memory")]
        fold(evolving, concept, *files, {}, ignore)
        evolving = Evolving(before.origin, *map(Checkpoint, files))
        for key, target in targets.items():
            delta = chosen[key].delta()
            start_, stop = target.rows or (0, target.shape[0])
            rows = exact[target.tensor].view(-1, target.shape[1])[start_:stop]
            origin = before.weight(target.tensor).view(-1, target.shape[1])[start_:stop]
            rows.copy_((rows if name == "merge" else origin) + delta)
    for key, weight in exact.items():
        torch.testing.assert_close(evolving.weight(key), weight, rtol=0, atol=1e-7)
        torch.testing.assert_close(evolving.current.read(key), weight.half(), rtol=0, atol=1e-4)
    for rows in (slice(4), slice(16, 18)):
        bytes_ = (raw(state.current.read("in_proj_weight")[rows]) for state in (before, evolving))
        assert next(bytes_) == next(bytes_)
    seen = evolving.layer(FUSED["in_proj_weight[4:12]"], name)
    assert torch.equal(seen.current, evolving.weight("in_proj_weight")[4:12])
    assert torch.equal(seen.origin, before.weight("in_proj_weight")[4:12])


def test_layers_that_share_rows_or_do_not_fit_are_refused(tmp_path: Path) -> None:
    before = fused_base(tmp_path)
    wrong = {
        "share rows": (Target("unet", "x", "in_proj_weight", (2, 10), rows=(11, 13)), 10),
        "does not lie in its tensor": (Target("unet", "x", "in_proj_weight", (2, 10), rows=(17, 19)), 10),
        "of shape": (Target("unet", "x", "in_proj_weight", (2, 9), rows=(16, 18)), 9),
    }
    for complaint, (target, width) in wrong.items():
        factors = Factors(torch.ones(1, width), torch.ones(2, 1), 1.0)
        targets, trained = {**FUSED, target.name: target}, {**fused_adapters(0), target.name: factors}
        concept = TrainedConcept(strategies.load("merge"), "merge", targets, trained)
        with pytest.raises(CheckpointError, match=complaint):
            fold(before, concept, tmp_path / "c.safetensors", tmp_path / "m.safetensors", {}, ignore)
    assert [path.name for path in tmp_path.iterdir()] == ["base.safetensors"]
