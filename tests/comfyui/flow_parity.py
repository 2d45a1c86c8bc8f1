"""ComfyUI's own modules on our files, in one process: ``python flow_parity.py COMFYUI_DIR WHAT FILE...``.

Prints one line of JSON: what ``WHAT``, a function below, finds.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from flow_captions import captions
from flow_lora_parity import loras, meta, names
from launch import stand_in_for_torchaudio
from listening import listen
from sizes import teach_sizes

from clora_ext import families
from clora_ext.config.precision import pick_precision
from clora_ext.families.family_data import family_data
from clora_ext.families.place import find_place
from clora_ext.formats.models import model_header

SIZES = [(8, 12), (6, 6)]
TEXTS = ["a dog", "a very long caption about a dog, " * 6]
TIMES = (0.2, 0.9)


def ours(file: Path) -> Any:
    """The model as clora loads it, with what lies beside it."""
    checkpoint = find_place(file, {}).open()
    return families.detect(checkpoint.header, file).load(checkpoint, pick_precision())


@torch.no_grad()
def modules(transformer: str, text_encoder: str, vae: str) -> dict[str, Any]:
    """The largest differences of what each network answers; ComfyUI loads them by its own loaders."""
    import comfy.sd
    import comfy.utils

    model = ours(Path(transformer))
    theirs = comfy.sd.load_diffusion_model(transformer, model_options={"dtype": torch.float32})
    clip = comfy.sd.load_clip([text_encoder], clip_type=_clip_type(model))
    decoder = comfy.sd.VAE(sd=comfy.utils.load_torch_file(vae))
    kind = type(theirs.model.model_config).__mro__
    found = {"kind": [one.__name__ for one in kind], "transformer": _transformer(model, theirs)}
    texts = [*TEXTS, "猫が窓辺で眠っている 🌙", "", "👩🏽\u200d🚀 on the 🌙"]
    found["text"] = max(_state(model, theirs, clip, text) for text in texts)
    return {**found, "vae": _vae(model, theirs, decoder), **_tokens(model, clip)}


def _clip_type(model: Any) -> Any:
    """As what ComfyUI loads the text encoder."""
    import comfy.sd

    return comfy.sd.CLIPType[family_data(model.family.name)["clip_type"].upper()]


def _transformer(model: Any, theirs: Any) -> float:
    """Two sizes, two captions of different length, two times."""
    rng = torch.Generator().manual_seed(0)
    network = theirs.model.diffusion_model
    condition = model.condition(TEXTS, [])
    worst = 0.0
    for height, width in SIZES:
        latents = torch.randn(2, model.latent_shape(32)[0], height, width, generator=rng)
        times = torch.tensor(TIMES)
        mine = model.predict(latents, times, condition)
        for number in range(2):
            length = int(condition["mask"][number].sum())
            states = condition["states"][number : number + 1, :length]
            one = slice(number, number + 1)
            if _is_anima(theirs):
                answer = network(latents[one].unsqueeze(2), times[one], context=_filled(states)).squeeze(2)
            else:
                answer = network(latents[one], times[one], context=states, num_tokens=length)
            worst = max(worst, float((mine[one] - answer).abs().max()))
    return worst


def _state(model: Any, theirs: Any, clip: Any, text: str) -> float:
    """How far a caption's states are from ComfyUI's."""
    mine = model.condition([text], [])["states"]
    said = clip.encode_from_tokens(clip.tokenize(text), return_dict=True)
    wanted = said["cond"].float()
    if _is_anima(theirs):
        network, words = theirs.model.diffusion_model, said["t5xxl_ids"][None]
        weights = said["t5xxl_weights"][None, :, None]
        mine, wanted = _filled(mine), network.preprocess_text_embeds(wanted, words, t5xxl_weights=weights)
    assert mine.shape == wanted.shape, (text, mine.shape, wanted.shape)
    return float((mine - wanted).abs().max())


def _is_anima(theirs: Any) -> bool:
    return type(theirs.model).__name__ == "Anima"


def _paints_films(theirs: Any) -> bool:
    """Of one picture each."""
    return type(theirs.model).__name__ in {"Anima", "Krea2"}


def _filled(states: torch.Tensor) -> torch.Tensor:
    """With zeros behind, as many as Anima was trained on."""
    return torch.nn.functional.pad(states, (0, 0, 0, 512 - states.shape[1]))


def _vae(model: Any, theirs: Any, decoder: Any) -> dict[str, float]:
    """Latents as the transformer sees them, and pictures of them."""
    pixels = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mine, _ = model.encode_images(pixels)
    network, scale = decoder.first_stage_model.float(), theirs.model.latent_format
    drawn = model.family.vae.decoded(model.vae, model.family.vae.unscaled(model.vae, mine))
    if _paints_films(theirs):
        answer = scale.process_in(network.encode(pixels.unsqueeze(2))).squeeze(2)
        wanted = network.decode(scale.process_out(mine.unsqueeze(2))).squeeze(2).clamp(-1, 1)
    else:
        answer = scale.process_in(network.encode(pixels))
        wanted = network.decode(scale.process_out(mine))
    return {
        "encoder": float((mine - answer).abs().max()),
        "decoder": float((drawn - wanted).abs().max()),
    }


def _tokens(model: Any, clip: Any) -> dict[str, Any]:
    """Captions whose tokens are others than ComfyUI's; what is longer than 512 we cut."""
    other, reading = [], model.text.reading
    weighs = {"disable_weights": True} if model.family.name == "anima" else {}  # others never weigh words
    for text in captions():
        found = clip.tokenize(text, **weighs)
        if "t5xxl" in found:
            ((*words, end),) = ([number for number, *_ in one] for one in found["t5xxl"])
            wanted = [*words[: reading.longest - 1], end]
            if reading.asked_words(text) != wanted:
                other.append(text)
        (theirs,) = next(one for name, one in found.items() if name.startswith("qwen3"))
        numbers = [number for number, *_ in theirs]
        mine = reading._all(text)
        filled = [reading.tokenizer.pad_token_id] * (512 - len(mine) if reading.padded else 0)
        most = reading.left_out + 512
        cut = mine if len(mine) <= most else mine[: most - reading.kept] + mine[len(mine) - reading.kept :]
        if reading.asked(text) != cut or mine + filled != numbers:
            other.append(text)
    return {"texts": len(captions()), "other tokens": other}


@torch.no_grad()
def drawn(transformer: str, text_encoder: str, vae: str) -> dict[str, Any]:
    """How far a picture of ours is from that of ComfyUI's sampler, of 255; and how much there is in it."""
    import comfy.sample
    import comfy.sd
    import comfy.utils

    steps, seed, guidance = 4, 3, 4.0
    model = ours(Path(transformer))
    theirs = comfy.sd.load_diffusion_model(transformer, model_options={"dtype": torch.float32})
    clip = comfy.sd.load_clip([text_encoder], clip_type=_clip_type(model))
    decoder = comfy.sd.VAE(sd=comfy.utils.load_torch_file(vae), dtype=torch.float32)
    wanted, unwanted = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a dog", "blurry")
    )
    empty = torch.zeros_like(model.encode_images(torch.zeros(1, 3, 32, 48))[0])
    empty = empty.unsqueeze(2) if _paints_films(theirs) else empty
    noise = comfy.sample.prepare_noise(empty, seed)
    latents = comfy.sample.sample(
        theirs, noise, steps, guidance, "euler", "simple", wanted, unwanted, empty, seed=seed,
        sigmas=_sigmas(theirs, steps, empty),
    )  # fmt: skip
    picture = (decoder.decode(latents).reshape(32, 48, 3) * 255).round()
    (image,) = model.sample(
        "a dog", negative="blurry", seeds=[seed], steps=steps, guidance=guidance, size=(48, 32)
    )
    mine = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(picture.shape)
    return {"difference": float((mine - picture).abs().max()), "deviation": float(picture.std())}


def _sigmas(theirs: Any, steps: int, latents: torch.Tensor) -> torch.Tensor | None:
    """Times by the scheduler of its own that Flux.2 has in ComfyUI's workflows; None: the usual ones.

    Of Krea 2 those of its authors, by ComfyUI's formula: its own model has the shift of the largest picture.
    """
    if type(theirs.model).__name__ == "Krea2":
        from comfy.model_sampling import flux_time_shift

        tokens = latents.shape[-2] * latents.shape[-1] // 4
        shift = 0.5 + (1.15 - 0.5) * (tokens - 256) / (6400 - 256)
        own: torch.Tensor = flux_time_shift(shift, 1.0, torch.linspace(1, 0, steps + 1))
        return own
    if type(theirs.model).__name__ != "Flux2":
        return None
    from comfy_extras.nodes_flux import get_schedule

    found: torch.Tensor = get_schedule(steps, latents.shape[-2] * latents.shape[-1])
    return found


def detected(file: str) -> dict[str, Any]:
    """What ComfyUI takes a file of these names and shapes for; nothing is loaded."""
    import comfy.model_detection as detection

    state = meta(model_header(Path(file)))
    prefix = detection.unet_prefix_from_state_dict(state)
    config = detection.model_config_from_unet(state, prefix)
    return {"prefix": prefix, "kind": type(config).__name__, "config": _plain(config.unet_config)}


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if isinstance(value, (int, float, str, list))}


ASKED = {one.__name__: one for one in (modules, drawn, detected, names, loras)}


def main() -> None:
    """Load, compare, print."""
    tree, what, *files = sys.argv[1:]
    stand_in_for_torchaudio()
    sys.path[0], sys.argv = tree, ["flow_parity.py"]
    from comfy.cli_args import args

    args.cpu = True
    teach_sizes()  # imports ComfyUI: what that says of its own extras is not of our files
    listener = listen()
    print(json.dumps({**ASKED[what](*files), "lines": listener.lines}))


if __name__ == "__main__":
    main()
