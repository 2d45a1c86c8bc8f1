"""The same sums by somebody else: peft, kohya's rule, the paper's formulas, numpy's linear algebra."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from clora_ext import strategies
from clora_ext.adapters.factors import Factors
from clora_ext.adapters.linalg import row_space
from clora_ext.errors import UsageError
from clora_ext.strategies.base import Layer
from clora_ext.strategies.orthogonal import AvoidDirections

OUT, IN, RANK, ALPHA = 20, 32, 4, 10.0


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(seed: int = 0) -> Factors:
    return Factors(
        torch.randn(RANK, IN, generator=rng(seed)), torch.randn(OUT, RANK, generator=rng(seed + 1)), ALPHA
    )


def learned(seed: int = 0, scale: float = 0.1) -> Layer:
    origin = torch.randn(OUT, IN, generator=rng(seed + 10))
    earlier = sum((factors(seed + 20 + i).delta() for i in range(2)), torch.zeros(OUT, IN)) * scale
    return Layer("layer", origin, origin + earlier)


def test_delta_is_pefts_delta() -> None:
    ours = factors()
    model = get_peft_model(
        nn.Sequential(nn.Linear(IN, OUT, bias=False)),
        LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"]),
    )
    adapted = model.base_model.model[0]
    adapted.lora_A["default"].weight.data = ours.down.clone()
    adapted.lora_B["default"].weight.data = ours.up.clone()
    torch.testing.assert_close(ours.delta(), adapted.get_delta_weight("default"))


def test_merge_is_pefts_merge() -> None:
    ours, layer = factors(), learned()
    linear = nn.Linear(IN, OUT, bias=False)
    linear.weight.data = layer.current.clone()
    model = get_peft_model(nn.Sequential(linear), LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"]))
    model.base_model.model[0].lora_A["default"].weight.data = ours.down.clone()
    model.base_model.model[0].lora_B["default"].weight.data = ours.up.clone()
    merged = model.merge_and_unload()[0].weight.data
    torch.testing.assert_close(strategies.load("merge").fold(layer, ours).weight, merged)


def test_delta_follows_kohyas_alpha_rule() -> None:
    """Delta = alpha / dim * up @ down with dim = rows of lora_down (sd-scripts, networks/lora.py)."""
    ours = factors()
    up, down = ours.up.double().numpy(), ours.down.double().numpy()
    np.testing.assert_allclose(
        ours.delta().numpy(), ALPHA / down.shape[0] * (up @ down), rtol=2e-5, atol=1e-5
    )


def test_mask_is_the_papers_selection() -> None:
    layer, new = learned(), factors(3)
    tau = (new.alpha / RANK * new.up.double() @ new.down.double()).numpy()
    earlier = (layer.current.double() - layer.origin.double()).numpy()
    chosen = np.where(np.abs(tau) >= np.abs(earlier), tau, earlier)
    folded = strategies.load("mask").fold(layer, new).weight.double().numpy()
    np.testing.assert_allclose(folded, layer.origin.double().numpy() + chosen, atol=1e-5)


def test_naive_chain_is_one_adapter_over_the_base() -> None:
    naive = strategies.load("naive")
    layer = Layer("layer", *(torch.randn(OUT, IN, generator=rng(1)),) * 2)
    for seed in range(4):
        start = naive.begin(layer, RANK, ALPHA, rng(seed))
        moved = Factors(
            start.factors.down + torch.randn(RANK, IN, generator=rng(seed)),
            start.factors.up + torch.randn(OUT, RANK, generator=rng(seed)),
            ALPHA,
        )
        fold = naive.fold(layer, moved)
        layer = Layer("layer", layer.origin, fold.weight, fold.memory)
    assert torch.equal(layer.current, layer.origin + ALPHA / RANK * (moved.up @ moved.down))


def test_orthogonal_updates_cannot_touch_what_is_learned() -> None:
    layer = learned()
    start = strategies.load("orthogonal").begin(layer, RANK, ALPHA, rng())
    any_up = torch.randn(OUT, RANK, generator=rng(5))
    tau = Factors(start.factors.down, any_up, ALPHA).delta()
    overlap = np.linalg.norm((tau @ layer.earlier.T).numpy())
    assert overlap <= 1e-4 * float(tau.norm()) * float(layer.earlier.norm())
    plain = strategies.load("merge").begin(layer, RANK, ALPHA, rng()).factors
    torch.testing.assert_close(start.factors.down.norm(), plain.down.norm())


def test_orthogonal_start_has_full_effective_rank() -> None:
    start = strategies.load("orthogonal").begin(learned(), RANK, ALPHA, rng())
    values = torch.linalg.svdvals(start.factors.down)
    assert float(values[-1] / values[0]) > 0.3


def test_a_full_layer_still_leaves_rank_directions() -> None:
    origin = torch.zeros(OUT, IN)
    layer = Layer("layer", origin, torch.randn(OUT, IN, generator=rng()))
    start = strategies.load("orthogonal").begin(layer, IN - 3, ALPHA, rng())
    assert isinstance(start.constraint, AvoidDirections)
    assert start.constraint.protected_basis.shape[1] == 3
    assert torch.isfinite(start.factors.down).all()


def test_row_space_matches_numpys_svd() -> None:
    matrix = learned().earlier
    basis = row_space(matrix, energy=1.0, limit=IN, rng=rng()).numpy()
    _, values, turned = np.linalg.svd(matrix.numpy())
    exact = turned[: (values > 1e-4 * values[0]).sum()]
    np.testing.assert_allclose(basis @ basis.T, exact.T @ exact, atol=1e-4)


def test_row_space_holds_the_asked_energy_and_no_more() -> None:
    values = torch.tensor([4.0, 2.0, 1.0, 0.1])
    left, _ = torch.linalg.qr(torch.randn(OUT, 4, generator=rng(1)))
    right, _ = torch.linalg.qr(torch.randn(IN, 4, generator=rng(2)))
    matrix = left @ values.diag() @ right.T
    assert row_space(matrix, energy=0.76, limit=IN, rng=rng()).shape == (IN, 1)
    assert row_space(matrix, energy=0.95, limit=IN, rng=rng()).shape == (IN, 2)
    assert row_space(matrix, energy=0.99, limit=IN, rng=rng()).shape == (IN, 3)
    assert row_space(matrix, energy=0.99, limit=2, rng=rng()).shape == (IN, 2)
    assert row_space(torch.zeros(OUT, IN), energy=0.99, limit=IN, rng=rng()).shape == (IN, 0)


def test_papers_columnwise_start_is_orthogonal_in_its_own_sense() -> None:
    layer = learned()
    down = strategies.load("orthogonal", {"mode": "paper"}).begin(layer, RANK, ALPHA, rng()).factors.down
    _, values, turned = np.linalg.svd(layer.earlier.numpy(), full_matrices=False)
    old = np.sqrt(values[:RANK, None]) * turned[:RANK]
    assert np.abs((old * down.numpy()).sum(axis=0)).max() < 1e-4
    np.testing.assert_allclose(np.linalg.norm(down.numpy(), axis=0), 1, atol=1e-5)


def test_papers_start_says_nothing_about_updates() -> None:
    """The reason why it is not the default: the update overlaps with the past as a random one does."""
    layer = learned()
    paper = strategies.load("orthogonal", {"mode": "paper"}).begin(layer, RANK, ALPHA, rng()).factors
    up = torch.randn(OUT, RANK, generator=rng(5))
    tau = Factors(paper.down, up, ALPHA).delta()
    assert float((tau @ layer.earlier.T).norm()) > 1e-2 * float(tau.norm()) * float(layer.earlier.norm())


def test_unknown_strategy_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="msak") as caught:
        strategies.load("msak")
    assert "did you mean 'mask'?" in caught.value.fix


def test_wrong_options_are_refused() -> None:
    for options, named in (({"mode": "papper"}, "papper"), ({"depth": "3"}, "depth")):
        with pytest.raises(UsageError, match=named):
            strategies.load("orthogonal", options)
