"""Losses and noises: numbers of sd-scripts 0.11.1 beside clora's, through a training file's own keys."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import DDPMScheduler
from torch import Tensor

from clora_ext.config.loss_settings import LossSettings, NoiseSettings, loss_problems
from clora_ext.families.latent.process import DiffusionProcess
from clora_ext.kohya.key import training_keys
from clora_ext.runs.encode import as_latents
from clora_ext.strategies.objective import NoisedBatch
from clora_ext.training.loss import differences, weights_by_time
from clora_ext.training.noise import added_noise, shaped_noise
from clora_ext.training.objective import DenoisingObjective

HERE = Path(__file__).parent
WHOLE: dict[str, Any] = json.loads((HERE / "kohya_losses.json").read_text(encoding="utf-8"))
PARTS: dict[str, Any] = json.loads((HERE / "kohya_noise_and_weights.json").read_text(encoding="utf-8"))
WEIGHTS, NOISES = PARTS["weights"], PARTS["noise"]

INDEX = torch.arange(2 * 4 * 8 * 8, dtype=torch.float64).reshape(2, 4, 8, 8)
LATENTS, NOISE = (0.1 * INDEX).sin().float(), (0.17 * INDEX).cos().float()
PREDICTION = (0.05 * INDEX + 1).sin().float()
MASKS = (torch.arange(2 * 64 * 64) % 5 / 4).reshape(2, 64, 64)


def process(*, is_v: bool = False, zero_snr: bool = False) -> DiffusionProcess:
    kind = "v_prediction" if is_v else "epsilon"
    return DiffusionProcess(
        DDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=kind,
            rescale_betas_zero_snr=zero_snr,
        )
    )


def settings_of(keys: dict[str, Any]) -> LossSettings:
    """By sd-scripts' names."""
    table = training_keys()
    return LossSettings(**{table[name].becomes: value for name, value in keys.items()})


def test_every_whole_loss_is_that_of_sd_scripts() -> None:
    finite = [case for case in WHOLE["cases"] if isinstance(case["loss"], float)]
    assert len(finite) >= 110

    def look(case: dict[str, Any]) -> None:
        keys = dict(case["settings"])
        masked, weights = keys.pop("mask", False), keys.pop("weights", None)
        of_model = process(is_v=case["v_prediction"], zero_snr=case["zero_terminal_snr"])
        times = torch.tensor(case["timesteps"])
        masks = torch.stack([as_latents(mask, LATENTS[0], PICTURE) for mask in MASKS]) if masked else None
        shown = NoisedBatch(
            LATENTS,
            NOISE,
            times,
            of_model.noised(LATENTS, NOISE, times),
            {},
            None if weights is None else torch.tensor(weights),
            masks,
        )
        model: Any = SimpleNamespace(process=of_model)
        loss = DenoisingObjective(loss=settings_of(keys)).error(model, shown, PREDICTION)
        assert float(loss) == pytest.approx(case["loss"], rel=1e-5)
        name = f"zt={case['zero_terminal_snr']} t={case['timesteps']}"
        first = shown.noised.flatten()[:4].tolist()
        assert first == pytest.approx(WHOLE["noisy_latents_first4"][name], abs=1e-6)

    check_each(finite, look)


PICTURE: Any = SimpleNamespace(
    path=Path("a.png"), subset=SimpleNamespace(masks=SimpleNamespace(normalize_masks=False))
)


def test_where_sd_scripts_has_no_number_clora_refuses() -> None:
    broken = [case for case in WHOLE["cases"] if not isinstance(case["loss"], float)]
    assert broken

    def look(case: dict[str, Any]) -> None:
        keys = {name: one for name, one in case["settings"].items() if name not in {"mask", "weights"}}
        predicts = "v" if case["v_prediction"] else "epsilon"
        assert loss_problems(settings_of(keys), predicts=predicts, zero_snr=case["zero_terminal_snr"])

    check_each(broken, look)


def test_what_does_not_fit_the_model_is_told() -> None:
    def told(predicts: str, **asked: Any) -> list[str]:
        return loss_problems(LossSettings(**asked), predicts=predicts, zero_snr=False)

    assert "predicts v; this one predicts noise" in told("epsilon", scale_v_pred=True)[0]
    assert "predicts noise; this one predicts v" in told("v", v_pred_like=0.1)[0]
    assert "is not below" in told("v", min_timestep=500, max_timestep=500)[0]
    assert not told("v", scale_v_pred=True, min_snr_gamma=5.0)


TABLES: list[tuple[str, bool, dict[str, Any]]] = [
    *((f"min_snr_gamma_{gamma}_eps", False, {"min_snr_gamma": float(gamma)}) for gamma in (1, 5, 20)),
    *((f"min_snr_gamma_{gamma}_v", True, {"min_snr_gamma": float(gamma)}) for gamma in (1, 5, 20)),
    ("debiased_eps", False, {"debiased_estimation": True}),
    ("debiased_v", True, {"debiased_estimation": True}),
    ("scale_v_pred_loss_like_noise_pred", True, {"scale_v_pred": True}),
    ("v_pred_like_loss_0.1", False, {"v_pred_like": 0.1}),
]
TIMES = torch.tensor(WEIGHTS["timesteps"])


def test_weights_by_time_are_those_of_sd_scripts() -> None:
    assert process().signal_to_noise(TIMES).tolist() == pytest.approx(WEIGHTS["snr"], rel=1e-5)

    def look(case: tuple[str, bool, dict[str, Any]]) -> None:
        name, is_v, asked = case
        found = weights_by_time(TIMES, process(is_v=is_v), LossSettings(**asked))
        assert found is not None
        assert found.tolist() == pytest.approx(WEIGHTS[name], rel=1e-5)

    check_each(TABLES, look)
    assert weights_by_time(TIMES, process(), LossSettings()) is None


def test_thresholds_of_huber_are_those_of_sd_scripts() -> None:
    """Of a huge difference the loss is 2 c |d|, so the threshold can be read off it."""
    names = [name for name in WEIGHTS if name.startswith("huber_threshold")]
    assert len(names) == 12

    def look(name: str) -> None:
        _, _, schedule, c, scale = name.split("_")
        asked = LossSettings(
            loss_type="huber",
            huber_schedule=schedule,  # type: ignore[arg-type]
            huber_c=float(c[1:]),
            huber_scale=float(scale.removeprefix("scale")),
        )
        far = torch.full((len(TIMES), 1, 1, 1), 1e6, dtype=torch.float32)
        found = differences(far, torch.zeros_like(far), TIMES, process(), asked).flatten() / 2e6
        assert found.tolist() == pytest.approx(WEIGHTS[name], rel=1e-4)

    check_each(names, look)


def test_a_noise_offset_is_that_of_sd_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = NOISES["offset"]
    latents, noise = (torch.tensor(given[name]).reshape(given["shape"]) for name in ("latents", "noise"))
    drawn = torch.tensor(given["drawn_per_channel"]).reshape(1, 2, 1, 1)
    monkeypatch.setattr(torch, "randn", lambda *shape, generator: drawn)
    names = [name for name in given if name.startswith("offset_")]
    assert len(names) == 4

    def look(name: str) -> None:
        _, offset, _, adaptive = name.split("_")
        asked = NoiseSettings(
            noise_offset=float(offset), adaptive_noise_scale=0.0 if adaptive == "None" else float(adaptive)
        )
        found = shaped_noise(noise, latents, asked, torch.Generator())
        assert found.flatten().tolist() == pytest.approx(given[name], abs=1e-6)

    check_each(names, look)


def test_noise_of_many_sizes_has_those_of_sd_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ratio is the table's, and the coarse noises are all ones, so weights add up."""
    names = [name for name in NOISES if name.startswith("multires")]
    assert len(names) == 12

    def look(name: str) -> None:
        given = NOISES[name]
        _, ratio, iterations, discount, size = name.split("_")
        width, height = map(int, size.split("x"))
        sizes: list[list[int]] = []

        def ones(*shape: int, generator: object) -> Tensor:
            sizes.append(list(shape[2:]))
            return torch.ones(shape)

        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn", ones)
            patch.setattr(torch, "rand", lambda count, generator: torch.tensor([(int(ratio[1:]) - 2) / 2]))
            asked = NoiseSettings(
                multires_noise_iterations=int(iterations.removeprefix("iter")),
                multires_noise_discount=float(discount.removeprefix("discount")),
            )
            noise = torch.linspace(-1, 1, width * height).reshape(1, 1, width, height)
            found = shaped_noise(noise, noise, asked, torch.Generator())
        assert sizes == given["low_sizes"]
        assert float(found.std()) == pytest.approx(given["std_after"], abs=1e-5)
        wanted = (noise + given["sum_of_weights"]) / noise.std()
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)

    check_each(names, look)


def test_plain_settings_draw_nothing_and_change_nothing() -> None:
    rng = torch.Generator().manual_seed(3)
    before = rng.get_state()
    assert shaped_noise(NOISE, LATENTS, NoiseSettings(), rng) is NOISE
    assert added_noise(NOISE, NoiseSettings(), rng) is NOISE
    assert torch.equal(rng.get_state(), before)


def test_noise_that_is_not_to_be_predicted_is_added_in_its_strength() -> None:
    noise = torch.zeros(64, 4, 16, 16)
    asked = NoiseSettings(ip_noise_gamma=0.3)
    whole = added_noise(noise, asked, torch.Generator().manual_seed(0))
    assert float(whole.std()) == pytest.approx(0.3, rel=0.02)
    varied = replace(asked, ip_noise_random_strength=True)
    seeds = (torch.Generator().manual_seed(seed) for seed in range(20))
    found = [float(added_noise(noise, varied, rng).std()) for rng in seeds]
    assert min(found) < 0.1
    assert 0.2 < max(found) <= 0.31


def test_times_are_drawn_from_the_range_that_is_asked_for() -> None:
    shape, rng = (4000, 4, 8, 8), torch.Generator().manual_seed(0)
    times = process().sample_times(shape, rng, least=200, most=300)
    assert (int(times.min()), int(times.max())) == (200, 299)
    everything = process().sample_times(shape, torch.Generator().manual_seed(1))
    again = process().sample_times(shape, torch.Generator().manual_seed(1), least=0, most=1000)
    assert torch.equal(everything, again)
