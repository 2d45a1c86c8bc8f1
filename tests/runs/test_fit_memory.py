"""A run that is made to fit into so much memory: what is changed for it, and what is not."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch
from cards import a_gpu
from real_shapes import sd1_header, sdxl_header
from small_runs import pictures, stop_at, with_settings
from torch import Tensor

from clora_ext import Pictures, Request, add_concept, estimate, families, make_plan
from clora_ext.config.precision import Precision
from clora_ext.errors import Cancelled
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.header import Header
from clora_ext.runs.fit_memory import fit_memory, usable_bytes


def of_zeros(file: Path, header: Header) -> Path:
    """A checkpoint with that header, of zeros that take no disk."""
    told, place = {}, 0
    for name, info in header.tensors.items():
        end = place + 2 * prod(info.shape)
        told[name] = {"dtype": "F16", "shape": list(info.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(told).encode()
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + place)
    os.utime(file, (0, 0))  # gigabytes, which are hashed once: that of a new file is not remembered
    return file


@pytest.mark.long
@pytest.mark.parametrize(
    ("header", "smallest", "most"), [(sd1_header, 4, 6e9), (sdxl_header, 8, 8e9)], ids=["sd1", "sdxl"]
)
def test_full_models_fit_the_cards_that_people_have(
    tmp_path: Path, header: Callable[[], Header], smallest: float, most: float
) -> None:
    base = of_zeros(tmp_path / "base.safetensors", header())
    request = Request(Pictures(pictures(tmp_path / "dog_images")), tmp_path / "model", base=base)
    with a_gpu():
        plan = make_plan(request)
        fitted = [fit_memory(request, size) for size in (smallest, 12, 16, 48)]
        assert all(one.fits for one in fitted)
        assert len(fitted[0].changes) > len(fitted[-1].changes) == 0
        assert fitted[-1].request.settings == plan.settings
        needed = estimate(make_plan(fitted[0].request), usable_bytes(smallest)).memory
        assert needed == fitted[0].bytes_needed
        assert needed is not None
        assert needed < most
        assert not fit_memory(request, 1).fits
        kept = fit_memory(request, smallest, given={"gradient_checkpointing"}).request.settings
        assert kept is not None
        assert not kept.compute.gradient_checkpointing


def too_small_for(request: Request) -> float:
    """GiB of a machine in which a run does not fit by gradient checkpointing alone."""
    needed = estimate(make_plan(with_settings(request, gradient_checkpointing=True)), 0).memory
    assert needed is not None
    return (needed - 1) / usable_bytes(1)


def test_batches_are_halved_before_weights_are_rounded(request_: Request) -> None:
    whole = with_settings(request_, batch_size=8, resolution=64)
    size = too_small_for(whole)
    found = fit_memory(whole, size).request.settings
    assert found is not None
    assert found.compute.gradient_checkpointing
    assert (found.data.batch_size, found.algorithm.gradient_accumulation_steps) == (4, 2)
    assert not found.compute.fp8_base
    told = fit_memory(whole, size / 2)
    assert [line.split(" (")[0] for line in told.changes[:2]] == ["gradient checkpointing", "2 batches of 4"]
    assert "2 batches" not in str(fit_memory(whole, size, given={"batch_size"}).changes)


@pytest.mark.long
def test_a_run_that_was_made_to_fit_goes_on_as_it_began(request_: Request) -> None:
    wished = with_settings(request_, strategy="merge", batch_size=8, resolution=64, steps=3)
    size = too_small_for(wished)

    def fitted() -> Request:  # as the same command asks again
        return fit_memory(wished, size).request

    straight = replace(fitted(), project=request_.project / "straight")
    assert fitted().settings != wished.settings
    with pytest.raises(Cancelled):
        add_concept(fitted(), stop_at(2))
    assert make_plan(fitted()).resume_step == 2
    assert add_concept(fitted()).content_hash == add_concept(straight).content_hash
    assert make_plan(fitted()).learned is not None


def test_a_unet_lies_aside_while_the_vae_needs_its_place(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's meta device stands for a card; there is no way back from it, so that is only noted."""
    checkpoint = Checkpoint(tiny)
    family = families.detect(checkpoint.header, tiny)
    model = replace(
        family.load(checkpoint, Precision(torch.device("cpu"), torch.float32, "a test")),  # type: ignore[type-var]
        precision=Precision(torch.device("meta"), torch.float32, "a test"),
    )
    model.picture_encoder.to("meta")
    moved: list[str] = []
    move = model.denoiser.to

    def to(place: str | torch.device) -> None:
        moved.append(str(place))
        if str(place) == "meta":
            move(place)

    model.denoiser.to = to
    free = [1 << 40]
    monkeypatch.setattr("clora_ext.families.placement.free_memory", lambda device: free[0])
    pixels, latents = torch.zeros(1, 3, 64, 64), torch.zeros(1, 4, 8, 8, device="meta")
    states = torch.zeros(1, 77, int(model.denoiser.config["cross_attention_dim"]), device="meta")
    model.encode_images(pixels)
    assert moved == []
    for _ in range(2):
        predicted: Tensor = model.predict(latents, torch.zeros(1, device="meta"), {"states": states})
        assert predicted.shape == latents.shape
    assert moved == ["meta"]
    free[0] = 1000
    model.encode_images(pixels)
    assert moved == ["meta", "cpu"]
