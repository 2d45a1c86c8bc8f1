"""What is said of a step's memory with Flux.2 klein, against a count of every tensor that is alive in one."""

import re
from typing import Any

import torch
from cases import check_each
from diffusers import Flux2Transformer2DModel
from live_bytes import Live
from peft import LoraConfig, inject_adapter_in_model
from published_files import klein_header
from torch import nn

from clora_ext import families
from clora_ext.families.family_data import family_data
from clora_ext.families.flow.activations import training_bytes
from clora_ext.families.step_shape import StepShape

RANK, SIDE, CAPTION, WIDTH, HEAD = 4, 16, 32, 128, 64
DEPTHS = [3, 2]
CONFIG: dict[str, Any] = {
    **family_data("flux2_klein_4b"), "width": WIDTH, "depths": DEPTHS, "text": {"longest": CAPTION}
}  # fmt: skip
ATTENTION = r".*attn\.(to_[qkv]|add_[qkv]_proj|to_out(\.0)?|to_add_out|to_qkv_mlp_proj)"
TAUGHT = {"attention": ATTENTION, "transformer": rf"{ATTENTION}|.*ff(_context)?\.linear_(in|out)"}


def counted(targets: str, *, half: bool, recompute: bool) -> int:
    """Bytes at the most of one training step, with the gradients that there are by then."""
    network = Flux2Transformer2DModel(
        in_channels=16, num_layers=DEPTHS[0], num_single_layers=DEPTHS[1], attention_head_dim=HEAD,
        num_attention_heads=WIDTH // HEAD, joint_attention_dim=96, axes_dims_rope=(16,) * 4,
        guidance_embeds=False,
    ).requires_grad_(requires_grad=False)  # fmt: skip
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(TAUGHT[targets], name)
    ]
    nn.Module.to(network, torch.bfloat16 if half else torch.float32)
    inject_adapter_in_model(LoraConfig(r=RANK, target_modules=names), network)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(requires_grad=True)
    network.train()
    if recompute:
        network.enable_gradient_checkpointing()
    latents, text = torch.randn(1, SIDE**2, 16), torch.randn(1, CAPTION, 96)
    first, side, words = (torch.arange(count) for count in (1, SIDE, CAPTION))
    live = Live(network)
    with live:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = network(
                hidden_states=latents, encoder_hidden_states=text, timestep=torch.full((1,), 0.5),
                img_ids=torch.cartesian_prod(first, side, side, first),
                txt_ids=torch.cartesian_prod(first, first, first, words), guidance=None, return_dict=False,
            )[0]  # fmt: skip
            loss = (found.float() - latents).square().mean()
        loss.backward()
    return live.peak


def test_a_steps_memory_is_as_counted() -> None:
    def check(case: tuple[Any, bool, bool]) -> None:
        targets, half, recompute = case
        asked = StepShape(
            (16 * SIDE, 16 * SIDE), 1, targets, RANK, text_encoders=False, is_half=half, recompute=recompute
        )
        found, said = counted(targets, half=half, recompute=recompute), training_bytes(CONFIG, asked, 16)
        assert said is not None
        assert abs(said - found) < 0.1 * found

    check_each(
        [(targets, half, again) for targets in TAUGHT for half in (False, True) for again in (False, True)],
        check,
    )


def test_a_full_step_takes_gigabytes_and_less_when_recomputed() -> None:
    """At 1024 pixels, with the longest text; 8-bit weights widen one block at a time."""
    cases = {
        ("flux2_klein_4b", True, False): 2.03e9,
        ("flux2_klein_4b", False, False): 19.0e9,
        ("flux2_klein_4b", True, True): 2.03e9 + 2 * 245.4e6,
        ("flux2_klein_9b", True, False): 2.97e9,
        ("flux2_klein_9b", False, False): 32.3e9,
    }

    def check(case: tuple[str, bool, bool]) -> None:
        name, again, copies = case
        asked = StepShape(
            (1024, 1024), 1, "transformer", 16, text_encoders=False, is_half=True, recompute=again,
            copies_weights=copies,
        )  # fmt: skip
        found = families.load(name).training_bytes(klein_header(name), asked)
        assert found is not None
        assert abs(found - cases[case]) < 0.02 * cases[case]

    check_each(cases, check)
