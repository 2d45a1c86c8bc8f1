"""Losses weighed by masks and by folder: numbers of sd-scripts 0.11.1 beside clora's."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from clora_ext.config.settings import MaskSettings
from clora_ext.data import Picture, Subset
from clora_ext.errors import DatasetError
from clora_ext.runs.encode import as_latents
from clora_ext.strategies.objective import NoisedBatch
from clora_ext.training.objective import DenoisingObjective, prediction_errors

CASES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("kohya_masked_losses.json").read_text(encoding="utf-8")
)["cases"]
INDEX = torch.arange(2 * 4 * 8 * 8, dtype=torch.float64).reshape(2, 4, 8, 8)
NOISE, PREDICTION = (0.17 * INDEX).cos().float(), (0.05 * INDEX + 1).sin().float()
MASKS = (torch.arange(2 * 64 * 64) % 5 / 4).reshape(2, 64, 64)


class _Process:
    """Of a model that predicts noise, and counts all times alike."""

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise

    def weight(self, times: Tensor) -> None:
        return None


MODEL: Any = SimpleNamespace(process=_Process(), predict=lambda *asked: PREDICTION)


def picture(*, normalize: bool = False) -> Picture:
    """One whose mask counts."""
    subset = Subset(Path("folder"), masks=MaskSettings(masked_loss=True, normalize_masks=normalize))
    return Picture(Path("a.png"), 64, 64, 1, "", "RGB", "", "", "", 1, subset)


def shown(*, masks: bool, weights: list[float] | None, normalize: bool = False) -> NoisedBatch:
    """The arrays of the golden file."""
    small = [as_latents(mask, NOISE[0], picture(normalize=normalize)) for mask in MASKS]
    times = torch.tensor([100, 700])
    asked = None if weights is None else torch.tensor(weights)
    return NoisedBatch(NOISE, NOISE, times, NOISE, {}, asked, torch.stack(small) if masks else None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case["settings"]) or "plain")
def test_losses_are_sd_scripts(case: dict[str, Any]) -> None:
    asked = shown(masks=bool(case["settings"].get("mask")), weights=case["settings"].get("weights"))
    assert prediction_errors(MODEL, asked).tolist() == pytest.approx(case["per_sample"], rel=1e-5)
    assert float(DenoisingObjective().error(MODEL, asked, PREDICTION)) == pytest.approx(
        case["loss"], rel=1e-5
    )


def test_a_normalised_mask_leaves_the_mean_of_what_counts() -> None:
    asked = shown(masks=True, weights=None, normalize=True)
    small = [as_latents(mask, NOISE[0], picture()) for mask in MASKS]
    errors = (PREDICTION - NOISE).square()
    wanted = [
        float((error * mask).sum() / (4 * mask.sum())) for error, mask in zip(errors, small, strict=True)
    ]
    assert prediction_errors(MODEL, asked).tolist() == pytest.approx(wanted, rel=1e-5)


def test_a_mask_of_which_nothing_is_kept_is_refused() -> None:
    with pytest.raises(DatasetError, match="what is kept of it counts nowhere"):
        as_latents(torch.zeros(64, 64), NOISE[0], picture())
