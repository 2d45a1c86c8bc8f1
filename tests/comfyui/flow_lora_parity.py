"""What ComfyUI makes of our LoRA files, for ``flow_parity.py``: names of layers, and weights with deltas."""

from pathlib import Path
from typing import Any

import torch
from sizes import APART

from clora_ext import families
from clora_ext.adapters.sites import Site
from clora_ext.formats.flow_keys import FLOW_PREFIX
from clora_ext.formats.header import Header
from clora_ext.formats.lora.kinds import kind_of
from clora_ext.formats.lora.names import NameTable
from clora_ext.formats.lora.reader import read_lora
from clora_ext.formats.lora.writer import kohya_name
from clora_ext.formats.models import model_header

Place = tuple[str, tuple[int, int] | None]


def meta(header: Header) -> dict[str, torch.Tensor]:
    """Tensors of these names and shapes without memory."""
    return {name: torch.empty(info.shape, device="meta") for name, info in header.tensors.items()}


def names(file: str) -> dict[str, Any]:
    """What ComfyUI calls the layers of this file in LoRAs, against what clora calls them.

    ``lost``: layers that, under the names that clora writes, it does not know in their places. ``unknown``:
    names of the file's weights that it knows and clora does not. ``elsewhere``: those of another place here.
    """
    import comfy.lora
    import comfy.model_detection as detection

    header = model_header(Path(file))
    state = meta(header)
    config = detection.model_config_from_unet(state, FLOW_PREFIX)
    config.set_inference_dtype(torch.float32, None)
    known = comfy.lora.model_lora_keys_unet(config.get_model(state, FLOW_PREFIX, device="meta"), {})
    # A third part says how to change what a LoRA gives: halves that are exchanged, which clora refuses.
    plain = {stem: one for stem, one in known.items() if isinstance(one, str) or len(one) == 2}
    places = {stem: _place(place) for stem, place in plain.items()}
    family = families.detect(header, Path(file))
    lost = [
        target.name
        for target in family.modules(header)
        if not target.module.startswith(APART)
        and places.get(kohya_name(target.site, kind_of(family.name))) != _own_place(target.site)
    ]
    table = NameTable([target.site for target in family.parameters(header)])
    weights = {_own_place(target.site)[0] for target in family.parameters(header)}
    found = {stem: table.find(stem) for stem, place in places.items() if place[0] in weights}
    return {
        "layers": len(family.modules(header)),
        "lost": lost,
        "names": len(found),
        "unknown": sorted(stem for stem, one in found.items() if one is None),
        "elsewhere": sorted(
            stem for stem, one in found.items() if one is not None and _own_place(one[1]) != places[stem]
        ),
    }


def _place(place: Any) -> Place:
    """A weight, and which of its rows."""
    if isinstance(place, str):
        return place, None
    name, (_, start, length) = place
    return name, (start, start + length)


def _own_place(site: Site) -> Place:
    name = f"diffusion_model.{site.original}.weight"
    return name, None if site.rows is None else (site.rows[0], site.rows[1])


def loras(transformer: str, *files: str) -> dict[str, Any]:
    """By file, how far ComfyUI's patched weights are from W + delta, relative to the largest delta."""
    return {"worst": {Path(file).name: _patched(Path(transformer), Path(file)) for file in files}}


def _patched(transformer: Path, file: Path) -> dict[str, Any]:
    import comfy.lora
    import comfy.sd
    import comfy.utils

    model = comfy.sd.load_diffusion_model(str(transformer), model_options={"dtype": torch.float32})
    state = comfy.utils.load_torch_file(str(file))
    changed, _ = comfy.sd.load_lora_for_models(model, None, state, 1.0, 0.0)
    header = model_header(transformer)
    sites = [target.site for target in families.detect(header, transformer).parameters(header)]
    changes = read_lora(file, sites).changes
    wanted: dict[str, torch.Tensor] = {}
    weights = model.model_state_dict()
    for site, change in changes.items():
        name = _own_place(site)[0]
        whole = wanted.setdefault(name, torch.zeros_like(weights[name]))
        rows = slice(None) if site.rows is None else slice(*site.rows)
        whole[rows] += change.delta()
    assert set(wanted) == set(changed.patches), set(wanted) ^ set(changed.patches)
    worst = 0.0
    for name, delta in wanted.items():
        theirs = comfy.lora.calculate_weight(changed.patches[name], weights[name].clone().float(), name)
        worst = max(worst, float((theirs - weights[name] - delta).abs().max() / delta.abs().max()))
    return {"weights": len(wanted), "layers": len(changes), "worst": worst}
