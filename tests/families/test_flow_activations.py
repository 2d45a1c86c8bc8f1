"""What is said of a training step's memory, against a count of every tensor that is alive in one."""

import re
from typing import Any

import pytest
import torch
from cases import check_each
from counted_networks import COUNTED, Counted
from live_bytes import Live
from peft import LoraConfig, inject_adapter_in_model
from published_files import anima_header, klein_header, krea2_header, z_image_header
from torch import nn

from clora_ext import families
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.activations import training_bytes
from clora_ext.families.step_shape import StepShape

RANK = 8
HEADERS = {
    "z_image": z_image_header,
    "anima": anima_header,
    "krea2": krea2_header,
    **{f"flux2_klein_{size}": lambda size=size: klein_header(f"flux2_klein_{size}") for size in ("4b", "9b")},
}


def counted(one: Counted, asked: StepShape) -> int:
    """Bytes at the most of one training step, with the gradients that there are by then."""
    network: Any = one.make(one).requires_grad_(requires_grad=False)
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(one.taught[asked.targets], name)
    ]
    nn.Module.to(network, torch.bfloat16 if asked.is_half else torch.float32)
    inject_adapter_in_model(LoraConfig(r=asked.rank, target_modules=names), network)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(requires_grad=True)
    network.train()
    if asked.recompute:
        network.enable_gradient_checkpointing()
    latents = torch.randn(one.channels, one.side, one.side)
    live = Live(network)
    with live:
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.is_half):
            found, wanted = one.answer(network, latents, one.caption)
            loss = (found.float() - wanted).square().mean()
        loss.backward()
    return live.peak


@pytest.mark.long
@pytest.mark.parametrize("one", COUNTED, ids=lambda one: one.name)
def test_a_steps_memory_is_as_counted(one: Counted) -> None:
    config = {
        **family_data(one.name), "width": one.width, "depths": one.depths, "text": {"longest": one.caption},
    }  # fmt: skip
    tokens = one.side // config["patch"]

    def check(case: tuple[Any, bool, bool]) -> None:
        targets, half, recompute = case
        size = (one.place * tokens, one.place * tokens)
        asked = StepShape(size, 1, targets, RANK, text_encoders=False, is_half=half, recompute=recompute)
        found, said = counted(one, asked), training_bytes(config, asked, one.place)
        assert said is not None
        assert abs(said - found) < 0.1 * found

    check_each(
        [
            (targets, half, again)
            for targets in one.taught
            for half in (False, True)
            for again in (False, True)
        ],
        check,
    )


# At 1024 pixels, with the longest text: whether it is recomputed, and whether weights in 8 bits are widened,
# one block at a time or all of them.
FULL = {
    ("z_image", True, False): 2.8e9,
    ("z_image", True, True): 2.8e9 + 2 * 180.9e6,
    ("z_image", False, False): 42.3e9,
    ("z_image", False, True): 42.3e9 + 2 * 30 * 180.9e6,
    ("flux2_klein_4b", True, False): 2.03e9,
    ("flux2_klein_4b", False, False): 19.0e9,
    ("flux2_klein_4b", True, True): 2.03e9 + 2 * 245.4e6,
    ("flux2_klein_9b", True, False): 2.97e9,
    ("anima", True, False): 1.41e9,
    ("anima", False, False): 16.6e9,
    ("anima", True, True): 1.41e9 + 2 * 69.2e6,
    ("flux2_klein_9b", False, False): 32.3e9,
    ("krea2", True, False): 4.2e9,
    ("krea2", False, False): 48.2e9,
    ("krea2", True, True): 4.2e9 + 2 * 434.1e6,
}


def step(*, recompute: bool, copies_weights: bool, magnitudes: bool = False) -> StepShape:
    return StepShape(
        (1024, 1024), 1, "transformer", RANK, text_encoders=False, is_half=True, recompute=recompute,
        copies_weights=copies_weights, magnitudes=magnitudes,
    )  # fmt: skip


def test_a_full_step_takes_gigabytes_and_less_when_recomputed() -> None:
    def check(case: tuple[str, bool, bool]) -> None:
        name, again, copies = case
        asked = step(recompute=again, copies_weights=copies)
        found = families.load(name).training_bytes(HEADERS[name](), asked)
        assert found is not None
        assert abs(found - FULL[case]) < 0.02 * FULL[case]

    check_each(FULL, check)


def test_of_magnitudes_nothing_is_told_and_a_picture_takes_what_its_vae_makes() -> None:
    asked = step(recompute=True, copies_weights=False, magnitudes=True)
    for name, header in HEADERS.items():
        assert families.load(name).training_bytes(header(), asked) is None
    film = families.load("anima").picture_bytes(anima_header(), (1024, 1024))
    assert film == int(18.2 * 1024**2 * 96 * 4)
    assert families.load("z_image").picture_bytes(z_image_header(), (1024, 1024)) == 6 * 1024**2 * 128 * 4
