"""ComfyUI's own Flux.2 on our files, in one process: ``klein_parity.py COMFYUI_DIR TRANSFORMER VAE LORA``.

Prints one line of JSON: what ComfyUI takes the model for, the largest differences of what each network
answers, and how far weights that its LoRA loader has patched are from the sum, relative to the change.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from launch import stand_in_for_torchaudio
from parity import Listener

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.place import find_place
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.models import model_header

SIZES = [(4, 6), (3, 3)]
TIMES = (0.2, 0.9)


def ours(file: Path) -> Any:
    """The model as clora loads it, with what lies beside it."""
    checkpoint = find_place(file, {}).open()
    return families.detect(checkpoint.header, file).load(checkpoint, pick_precision())


def transformer(model: Any, theirs: Any) -> float:
    """Two sizes, two captions of different length, two times."""
    rng = torch.Generator().manual_seed(0)
    condition, worst = model.condition(["a dog", "a very long caption about a dog, " * 6], []), 0.0
    for height, width in SIZES:
        latents, times = torch.randn(2, 128, height, width, generator=rng), torch.tensor(TIMES)
        mine = model.predict(latents, times, condition)
        answer = theirs.model.diffusion_model(latents, times, context=condition["states"])
        worst = max(worst, float((mine - answer).abs().max()))
    return worst


def vae(model: Any, decoder: Any) -> dict[str, float]:
    """Latents as the transformer sees them, and pictures of them."""
    pixels = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mine, _ = model.encode_images(pixels)
    network = decoder.first_stage_model.float()
    drawn = model.vae.decode(model.family.vae.unscaled(model.vae, mine)).sample
    return {
        "encoder": float((mine - network.encode(pixels)).abs().max()),
        "decoder": float((drawn - network.decode(mine)).abs().max()),
    }


def patched(theirs: Any, file: Path, lora: Path) -> dict[str, Any]:
    """Every change of ours, in the rows where it belongs, against what ComfyUI makes of the file."""
    import comfy.lora
    import comfy.sd
    import comfy.utils

    changed, _ = comfy.sd.load_lora_for_models(theirs, None, comfy.utils.load_torch_file(str(lora)), 1.0, 0.0)
    header = model_header(file)
    sites = [target.site for target in families.detect(header, file).parameters(header)]
    weights, wanted = theirs.model_state_dict(), dict[str, torch.Tensor]()
    for site, change in read_lora(lora, sites).changes.items():
        name = f"diffusion_model.{site.original}.weight"
        whole = wanted.setdefault(name, torch.zeros_like(weights[name]))
        whole[slice(None) if site.rows is None else slice(*site.rows)] += change.delta()
    worst = 0.0
    for name, delta in wanted.items():
        after = comfy.lora.calculate_weight(changed.patches[name], weights[name].clone().float(), name)
        worst = max(worst, float((after - weights[name] - delta).abs().max() / delta.abs().max()))
    return {"weights": len(wanted), "patched": len(changed.patches), "worst": worst}


@torch.no_grad()
def main() -> None:
    """Load, compare, print."""
    tree, file, decoder, lora = sys.argv[1:]
    stand_in_for_torchaudio()
    sys.path[0], sys.argv = tree, ["klein_parity.py"]
    from comfy.cli_args import args

    args.cpu = True
    import comfy.sd
    import comfy.utils

    listener = Listener()
    logging.getLogger().addHandler(listener)
    logging.getLogger().setLevel(logging.DEBUG)
    model = ours(Path(file))
    theirs = comfy.sd.load_diffusion_model(file, model_options={"dtype": torch.float32})
    found = {
        "kind": type(theirs.model.model_config).__name__,
        "transformer": transformer(model, theirs),
        "vae": vae(model, comfy.sd.VAE(sd=comfy.utils.load_torch_file(decoder), dtype=torch.float32)),
        "lora": patched(theirs, Path(file), Path(lora)),
    }
    print(json.dumps({**found, "lines": listener.lines}))


if __name__ == "__main__":
    main()
