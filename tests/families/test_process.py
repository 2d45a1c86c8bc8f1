"""The training objective: today's losses bit for bit, and the seam that other processes go through."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import check_each
from diffusers import DDPMScheduler
from real_shapes import tiny_sdxl, write
from tiny_model import write_tiny_model
from torch import Tensor, nn

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint, Source, write_checkpoint
from clora_ext.strategies.objective import Example
from clora_ext.training.objective import DenoisingObjective, step_rng

CPU = torch.device("cpu")
CUT = SizeConditioning((64, 50), (3, 0), (32, 32))
SCHEDULE: dict[str, Any] = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def marked(file: Path, *markers: str) -> Path:
    """The same model with empty tensors that say what it predicts."""
    checkpoint = Checkpoint(file)
    sources = {name: Source.copy(checkpoint, name) for name in checkpoint.names}
    empty = {name: Source.of(torch.empty(0)) for name in markers}
    target = file.with_name("marked.safetensors")
    write_checkpoint(target, {**sources, **empty}, dict(checkpoint.header.metadata))
    return target


def loaded(file: Path) -> Any:
    header = Checkpoint(file).header
    return families.detect(header, file).load(Checkpoint(file), pick_precision())


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return loaded(write_tiny_model(tmp_path_factory.mktemp("sd1") / "x.safetensors", dtype=torch.float32))


@pytest.fixture(scope="module")
def sdxl_v(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return loaded(
        marked(
            write(tmp_path_factory.mktemp("sdxl") / "x.safetensors", tiny_sdxl(), torch.float32),
            "v_pred",
            "ztsnr",
        )
    )


@torch.no_grad()
def batch(model: Any, *, encoded: bool) -> list[Example]:
    rng = torch.Generator().manual_seed(1)
    return [
        Example(
            torch.randn(4, 16, 16, generator=rng),
            torch.rand(4, 16, 16, generator=rng),
            prompt,
            CUT,
            model.condition([prompt], [CUT]) if encoded else None,
        )
        for prompt in ("a dog", "sks cat on a mat")
    ]


def formula(model: Any, examples: Sequence[Example], seed: int, step: int, schedule: DDPMScheduler) -> Tensor:
    """Arithmetic and draws written out, with diffusers' own scheduler."""
    rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
    mean = torch.stack([example.mean for example in examples])
    latents = mean + torch.stack([e.deviation for e in examples]) * torch.randn(mean.shape, generator=rng)
    noise = torch.randn(mean.shape, generator=rng)
    times = torch.randint(1000, (2,), generator=rng)
    told = [e.condition or model.condition([e.prompt], [CUT]) for e in examples]
    condition = {name: torch.cat([one[name] for one in told]) for name in told[0]}
    if not examples[0].condition:
        condition = model.condition([e.prompt for e in examples], [CUT] * 2)
    added = {"text_embeds": condition.get("pooled"), "time_ids": condition.get("time_ids")}
    noisy = schedule.add_noise(latents, noise, times)
    predicted = model.denoiser(noisy, times, condition["states"], added_cond_kwargs=added).sample
    is_v = schedule.config["prediction_type"] == "v_prediction"
    target = schedule.get_velocity(latents, noise, times) if is_v else noise
    return nn.functional.mse_loss(predicted, target)


@torch.no_grad()
def differing(model: Any, schedule: DDPMScheduler) -> Iterator[tuple[bool, int]]:
    for encoded in (True, False):
        examples = batch(model, encoded=encoded)
        for step in range(4):
            ours = DenoisingObjective().loss(model, examples, 7, step, CPU)
            if not torch.equal(ours, formula(model, examples, 7, step, schedule)):
                yield encoded, step


def test_losses_of_sd1_are_those_of_the_formula_bit_for_bit(sd1: Any) -> None:
    assert list(differing(sd1, DDPMScheduler(**SCHEDULE))) == []


@pytest.mark.long
def test_losses_of_an_sdxl_that_predicts_v_are_those_of_the_formula_bit_for_bit(sdxl_v: Any) -> None:
    schedule = DDPMScheduler(**SCHEDULE, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert list(differing(sdxl_v, schedule)) == []
    assert list(differing(sdxl_v, DDPMScheduler(**SCHEDULE, prediction_type="v_prediction"))) != []


@pytest.mark.long
def test_losses_with_zero_terminal_snr_are_those_of_the_formula_in_both_families(tmp_path: Path) -> None:
    def check(case: tuple[str, tuple[str, ...], str]) -> None:
        family, markers, word = case
        plain = tmp_path / f"{family}.safetensors"
        if family == "sd1":
            write_tiny_model(plain, dtype=torch.float32)
        else:
            write(plain, tiny_sdxl(), torch.float32)
        model = loaded(marked(plain, *markers))
        schedule = DDPMScheduler(**SCHEDULE, prediction_type=word, rescale_betas_zero_snr=True)
        assert list(differing(model, schedule)) == []
        assert list(differing(model, DDPMScheduler(**SCHEDULE, prediction_type=word))) != []

    cases = [
        ("sd1", ("v_pred", "ztsnr"), "v_prediction"),
        ("sd1", ("ztsnr",), "epsilon"),
        ("sdxl", ("ztsnr",), "epsilon"),
    ]
    check_each(cases, check)


@torch.no_grad()
def test_samples_with_zero_terminal_snr_are_finite(tmp_path: Path) -> None:
    def check(markers: tuple[str, ...]) -> None:
        plain = write_tiny_model(tmp_path / "x.safetensors", dtype=torch.float32)
        model = loaded(marked(plain, *markers))
        seen: list[Tensor] = []
        decode = model.vae.decode
        model.vae.decode = lambda latents: (seen.append(latents), decode(latents))[1]
        model.sample("a dog", negative="", seeds=[1], steps=4, guidance=4.0, size=32)
        assert torch.isfinite(seen[0]).all()

    check_each([("ztsnr",), ("v_pred", "ztsnr"), ("v_pred",)], check)


@dataclass(frozen=True)
class Flow:
    """Rectified flow as later families need it: real times that depend on the size, weighted errors."""

    def sample_times(
        self, shape: Sequence[int], rng: torch.Generator, *, least: int = 0, most: int | None = None
    ) -> Tensor:
        assert (least, most) == (0, None)
        shift = shape[2] * shape[3] / 64
        times = torch.randn(shape[0], generator=rng).sigmoid()
        return shift * times / (1 + (shift - 1) * times)

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return torch.lerp(latents, noise, times[:, None, None, None])

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return noise - latents

    def weight(self, times: Tensor) -> Tensor:
        return 1 + times


@torch.no_grad()
def test_another_process_brings_its_own_times_noise_target_and_weights(sd1: Any) -> None:
    model, examples = replace(sd1, process=Flow()), batch(sd1, encoded=True)
    loss = DenoisingObjective().loss(model, examples, 3, 5, CPU)
    rng = step_rng(3, 5)
    mean = torch.stack([example.mean for example in examples])
    latents = mean + torch.stack([e.deviation for e in examples]) * torch.randn(mean.shape, generator=rng)
    noise = torch.randn(mean.shape, generator=rng)
    plain = torch.randn(2, generator=rng).sigmoid()
    times = 4 * plain / (1 + 3 * plain)
    noised = (1 - times)[:, None, None, None] * latents + times[:, None, None, None] * noise
    told = model.collate([example.condition for example in examples])
    errors = (model.predict(noised, times, told) - (noise - latents)).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, ((1 + times) * errors).mean())


@torch.no_grad()
def test_conditions_of_several_pictures_are_collated_in_their_order(sdxl_v: Any) -> None:
    prompts = ["a dog", "a cat"]
    apart = [sdxl_v.condition([prompt], [CUT]) for prompt in prompts]
    together = sdxl_v.collate(apart)
    assert {name: len(value) for name, value in together.items()} == {"states": 2, "pooled": 2, "time_ids": 2}
    for number, one in enumerate(apart):
        assert all(torch.equal(together[name][number], value[0]) for name, value in one.items())
