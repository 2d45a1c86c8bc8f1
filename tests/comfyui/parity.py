"""ComfyUI's own loader on our files, in one process: ``python parity.py COMFYUI_DIR CHECKPOINT [LORA]``.

Prints one line of JSON. ``lines``: what the loader complained of. Without a LoRA, ``difference``: the
largest absolute difference of each component's numbers from ours. With one, ``applied`` of ``layers``, and
``worst``: the largest difference of a patched weight from W0 + delta, relative to the delta.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from launch import stand_in_for_torchaudio
from listening import listen

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.model import SizeConditioning
from clora_ext.formats.checkpoint import Checkpoint
from clora_ext.formats.lora.reader import read_lora

PROMPT = "a photo of sks dog!"
SQUARE = SizeConditioning((64, 64), (0, 0), (64, 64))


@torch.no_grad()
def differences(ours: Any, model: Any, clip: Any, vae: Any) -> dict[str, float]:
    """By component."""
    rng = torch.Generator().manual_seed(0)
    latents, text = torch.randn(2, 4, 8, 8, generator=rng), torch.randn(2, 77, 768, generator=rng)
    times = torch.tensor([10, 700])
    unet = model.model.diffusion_model.float()
    states = clip.encode_from_tokens(clip.tokenize(PROMPT)).float()
    first_stage = vae.first_stage_model.float()
    pixels = torch.rand(1, 3, 64, 64, generator=rng) * 2 - 1
    mean, _ = ours.encode_images(pixels)
    plain = mean / 0.18215
    pairs = {
        "unet": (ours.predict(latents, times, {"states": text}), unet(latents, times.float(), context=text)),
        "clip": (ours.condition([PROMPT], [SQUARE])["states"], states),
        "vae encoder": (plain, first_stage.encode(pixels)),
        "vae decoder": (ours.vae.decode(plain).sample, first_stage.decode(plain)),
    }
    return {name: float((mine - theirs).abs().max()) for name, (mine, theirs) in pairs.items()}


def patched(model: Any, clip: Any, file: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """How far a LoRA reaches."""
    import comfy.sd
    import comfy.utils

    family = families.detect(checkpoint.header, checkpoint.path)
    targets = {target.site: target for target in family.modules(checkpoint.header)}
    lora = read_lora(file, list(targets))
    state = comfy.utils.load_torch_file(str(file))
    unet, text = comfy.sd.load_lora_for_models(model, clip, state, 1.0, 1.0)
    errors = [
        error
        for site, factors in lora.factors.items()
        for error in _error(unet if site.component == "unet" else text.patcher, site, targets[site], factors)
    ]
    return {"layers": len(lora.factors), "applied": len(errors), "worst": max(errors)}


def _error(patcher: Any, site: Any, target: Any, factors: Any) -> Iterator[float]:
    """The relative difference of one layer; nothing where ComfyUI has not patched it."""
    import comfy.lora

    inside = f"{site.module}.weight"
    if site.component == "unet":
        inside = target.tensor.removeprefix("model.")
    for key in (key for key in patcher.patches if key.endswith(inside)):
        weight = patcher.model_state_dict()[key].float()
        theirs = comfy.lora.calculate_weight(patcher.patches[key], weight.clone(), key)
        delta = factors.delta().reshape(weight.shape)
        yield float((theirs - (weight + delta)).abs().max() / delta.abs().max())


def main() -> None:
    """Load, compare, print."""
    tree, file, *lora = sys.argv[1:]
    stand_in_for_torchaudio()
    sys.path[0], sys.argv = tree, ["parity.py"]
    from comfy.cli_args import args

    args.cpu = True
    import comfy.sd  # what it says of its own extras is not of our files

    listener = listen()
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(file, output_vae=True, output_clip=True)
    checkpoint = Checkpoint(Path(file))
    if lora:
        found = patched(model, clip, Path(lora[0]), checkpoint)
    else:
        ours = families.detect(checkpoint.header, checkpoint.path).load(checkpoint, pick_precision())
        found = {"difference": differences(ours, model, clip, vae)}
    print(json.dumps({"lines": listener.lines, **found}))


if __name__ == "__main__":
    main()
