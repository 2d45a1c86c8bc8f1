"""What is said of a training step's memory, against a count of every tensor that is alive in one."""

import re
from dataclasses import replace
from typing import Any

import torch
from cases import check_each
from diffusers import ZImageTransformer2DModel
from live_bytes import Live
from peft import LoraConfig, inject_adapter_in_model
from published_files import z_image_header
from torch import nn

from clora_ext import families
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.activations import training_bytes
from clora_ext.families.step_shape import StepShape

RANK, SIDE, CAPTION = 8, 32, 32
CONFIG: dict[str, Any] = {
    **family_data("z_image"),
    "width": 256,
    "depths": [6],
    "vae": {"block_out_channels": [32] * 2},
    "text": {"longest": CAPTION},
}
TAUGHT = {
    "attention": r"layers\.\d+\.attention\.(to_q|to_k|to_v|to_out\.0)",
    "transformer": r"layers\.\d+\.(attention\.(to_q|to_k|to_v|to_out\.0)|feed_forward\.w[123])",
}


def step(targets: Any, *, half: bool, recompute: bool) -> StepShape:
    return StepShape(
        (2 * SIDE, 2 * SIDE), 1, targets, RANK, text_encoders=False, is_half=half, recompute=recompute
    )


def counted(asked: StepShape) -> int:
    """Bytes at the most of one training step, with the gradients that there are by then."""
    width = CONFIG["width"]
    network = ZImageTransformer2DModel(
        in_channels=16, dim=width, n_layers=CONFIG["depths"][0], n_refiner_layers=2,
        n_heads=width // 64, n_kv_heads=width // 64, cap_feat_dim=64, axes_dims=[16, 24, 24],
    ).requires_grad_(requires_grad=False)  # fmt: skip
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(TAUGHT[asked.targets], name)
    ]
    network.to(torch.bfloat16 if asked.is_half else torch.float32)
    inject_adapter_in_model(LoraConfig(r=asked.rank, target_modules=names), network)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(requires_grad=True)
    network.train()
    if asked.recompute:
        network.enable_gradient_checkpointing()
    latents, text = torch.randn(1, 16, SIDE, SIDE), torch.randn(CAPTION, 64)
    live = Live(network)
    with live:
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.is_half):
            found = network([latents[0].unsqueeze(1)], torch.full((1,), 0.5), [text], return_dict=False)[0]
            loss = (found[0].float() - latents[0].unsqueeze(1)).square().mean()
        loss.backward()
    return live.peak


def test_a_steps_memory_is_as_counted() -> None:
    def check(case: tuple[str, bool, bool]) -> None:
        asked = step(case[0], half=case[1], recompute=case[2])
        found, said = counted(asked), training_bytes(CONFIG, asked, 4)
        assert said is not None
        assert abs(said - found) < 0.1 * found

    check_each(
        [(targets, half, again) for targets in TAUGHT for half in (False, True) for again in (False, True)],
        check,
    )


def test_a_full_step_takes_gigabytes_and_less_when_recomputed() -> None:
    """At 1024 pixels, with the longest text; 8-bit weights widen one block at a time, or all of them."""
    header, family = z_image_header(), families.load("z_image")
    again = replace(step("transformer", half=True, recompute=True), size=(1024, 1024))
    cases = {
        (True, False): 2.8e9,
        (True, True): 2.8e9 + 2 * 180.9e6,
        (False, False): 42.3e9,
        (False, True): 42.3e9 + 2 * 30 * 180.9e6,
    }

    def check(case: tuple[bool, bool]) -> None:
        found = family.training_bytes(header, replace(again, recompute=case[0], copies_weights=case[1]))
        assert found is not None
        assert abs(found - cases[case]) < 0.02 * cases[case]

    check_each(cases, check)
    assert family.picture_bytes(header, (1024, 1024)) == 6 * 1024**2 * 128 * 4
    assert family.training_bytes(header, replace(again, magnitudes=True)) is None
