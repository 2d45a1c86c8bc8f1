"""How much memory a training step takes beside the weights, counted without computing anything.

Fake tensors have shapes and no numbers; every storage is counted from when it is made until nothing refers to
it. `python tests/families/live_bytes.py` compares the counts with the formula, for docs/estimates.md.
"""

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clora_ext.families.latent.activations import training_bytes
from clora_ext.families.step_shape import StepShape
from clora_ext.families.stored_weights import NARROW, store_narrowly
from clora_ext.training.magnitudes import Decomposing

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


class Live(TorchDispatchMode):
    """Bytes of all storages that were made while it is entered and still live; and the most so far."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {one.untyped_storage()._cdata: None for one in module.parameters()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def counted(config: Mapping[str, Any], step: StepShape) -> int:
    """Bytes at the most of one training step of such a UNet, with the gradients that there are by then."""
    unet = _adapted(config["unet"], step)
    with FakeTensorMode(allow_non_fake_inputs=True):
        _fill(unet, torch.bfloat16 if step.is_half else torch.float32)
        unet.train()
        if step.recompute:
            unet.enable_gradient_checkpointing()
        latents, rest = _inputs(config, step)
        live = Live(unet)
        with live:
            with torch.autocast("cpu", torch.bfloat16, enabled=step.is_half):
                loss = ((unet(latents, **rest).sample.float() - latents) ** 2).mean()
            loss.backward()
    return live.peak


def _adapted(config: Mapping[str, Any], step: StepShape) -> UNet2DConditionModel:
    """The UNet on the meta device, with its LoRA layers."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(dict(config)).requires_grad_(requires_grad=False)
        if step.copies_weights:
            store_narrowly(unet, unet.device, torch.bfloat16 if step.is_half else torch.float32)
        names = [name for name, module in unet.named_modules() if _is_taught(name, module, step)]
        config = LoraConfig(r=step.rank, target_modules=names, use_dora=step.magnitudes)
        inject_adapter_in_model(config, unet)
        if step.magnitudes:
            _decompose(unet)
    return unet


def _decompose(unet: nn.Module) -> None:
    """Let the DoRA be computed as in a training."""
    for layer in [one for one in unet.modules() if isinstance(one, BaseTunerLayer)]:
        peft_s: Any = layer
        magnitude = peft_s.lora_magnitude_vector["default"].weight
        peft_s.lora_magnitude_vector["default"] = Decomposing(layer.get_base_layer(), magnitude)


def _is_taught(name: str, module: nn.Module, step: StepShape) -> bool:
    if not isinstance(module, (nn.Linear, nn.Conv2d)):
        return False
    if any(f"{part}." in name for part in ("resnets", "downsamplers", "upsamplers")):
        return step.convolutions
    if "attentions." not in name:
        return False
    return step.targets == "transformer" or (".attn" in name and name.endswith(_ATTENTION))


def _fill(unet: nn.Module, dtype: torch.dtype) -> None:
    """Fake parameters in the place of the meta device's."""
    for name, module in unet.named_modules():
        is_lora = "lora_" in name
        for key, value in module._parameters.items():
            if value is not None:
                narrow = value.dtype == NARROW
                kept = NARROW if narrow else dtype
                fake = torch.empty(value.shape, dtype=torch.float32 if is_lora else kept)
                module._parameters[key] = nn.Parameter(fake, requires_grad=is_lora)


def _inputs(config: Mapping[str, Any], step: StepShape) -> tuple[Tensor, dict[str, Any]]:
    """Latents and everything else that the UNet reads."""
    unet, reduction = config["unet"], 2 ** (len(config["vae"]["block_out_channels"]) - 1)
    width, height = (side // reduction for side in step.size)
    rest: dict[str, Any] = {
        "timestep": torch.zeros(step.pictures, dtype=torch.long),
        "encoder_hidden_states": torch.randn(step.pictures, 77, unet["cross_attention_dim"]),
    }
    if unet.get("addition_embed_type"):
        pooled = unet["projection_class_embeddings_input_dim"] - 6 * unet["addition_time_embed_dim"]
        rest["added_cond_kwargs"] = {
            "text_embeds": torch.randn(step.pictures, pooled),
            "time_ids": torch.randn(step.pictures, 6),
        }
    return torch.randn(step.pictures, 4, height, width), rest


def main() -> None:
    """Print counts beside what the formula gives, in MB."""
    from itertools import product

    from real_shapes import MINI_SD1_UNET, SD1_UNET, SDXL_UNET, TINY_SDXL_UNET, VAE

    from clora_ext import families
    from clora_ext.families.hub import DEMO_MODEL
    from clora_ext.formats.models import model_header

    demo = families.load("sd1").config(model_header(DEMO_MODEL), Path())  # type: ignore[attr-defined]
    shapes = {
        "demo, 64 px": (demo, 64),
        "SD 1.5, two levels, 512 px": ({"unet": MINI_SD1_UNET, "vae": VAE}, 512),
        "SD 1.5, 512 px": ({"unet": SD1_UNET, "vae": VAE}, 512),
        "SDXL, tiny, 256 px": ({"unet": TINY_SDXL_UNET, "vae": VAE}, 256),
        "SDXL, 1024 px": ({"unet": SDXL_UNET, "vae": VAE}, 1024),
    }
    for (name, (config, side)), targets, half, recompute in product(
        shapes.items(), ("attention", "transformer"), (False, True), (False, True)
    ):
        step = StepShape((side, side), 1, targets, 8, False, half, recompute)  # type: ignore[arg-type]
        found, formula = counted(config, step), training_bytes(config, step)
        words = f"{targets}, {'half' if half else 'float32'}, {'recomputed' if recompute else 'kept'}"
        print(f"| {name} | {words} | {found / 1e6:,.0f} | {formula / found - 1:+.0%} |", flush=True)


if __name__ == "__main__":
    main()
