"""ComfyUI's own loaders, detection and modules on models that clora reads and on LoRAs that it writes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import launch  # noqa: F401 - before anything imports diffusers
import pytest
import torch
from lora_sites import random_factors
from published_files import published_file
from server import HERE
from sized_flow import sized_flow
from sizes import APART
from small_runs import FLOW, pictures
from tiny_flow import FlowFiles, write_flow

from clora_ext import Pictures, Request, add_concept, export_checkpoint, export_lora, families
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.writer import write_lora
from clora_ext.formats.models import model_header

pytestmark = pytest.mark.comfyui

KINDS = {"z_image": "ZImage", "flux2_klein_4b": "Flux2", "anima": "Anima", "krea2": "Krea2"}
"""Families, and what ComfyUI calls them."""

TAUGHT = {"z_image": 14, "flux2_klein_4b": 28, "anima": 20, "krea2": 16}
"""Adapters of two layers of each kind."""

NAMES = {
    "z_image": {
        "dim": "dim", "cap_feat_dim": "cap_feat_dim", "n_layers": "n_layers", "n_heads": "n_heads",
        "axes_dims": "axes_dims", "rope_theta": "rope_theta", "time_scale": "t_scale",
    },
    "flux2_klein_4b": {
        "in_channels": "in_channels", "depth": "num_layers", "depth_single_blocks": "num_single_layers",
        "num_heads": "num_attention_heads", "context_in_dim": "joint_attention_dim", "theta": "rope_theta",
        "mlp_ratio": "mlp_ratio", "axes_dim": "axes_dims_rope",
    },
    "anima": {
        "in_channels": "in_channels", "out_channels": "out_channels", "num_blocks": "num_layers",
        "num_heads": "num_attention_heads", "crossattn_emb_channels": "text_embed_dim",
        "adaln_lora_dim": "adaln_lora_dim", "concat_padding_mask": "concat_padding_mask",
    },
    "krea2": {
        "layers": "num_layers", "heads": "num_attention_heads", "kvheads": "num_key_value_heads",
        "txtlayers": "num_text_layers", "txtdim": "text_hidden_dim",
    },
}  # fmt: skip
"""By what ComfyUI calls a number, what diffusers calls it."""

KNOWN = {"z_image": (276, 2000), "flux2_klein_4b": (109, 400), "anima": (454, 900), "krea2": (264, 900)}
"""Layers of the published model, and more names than these are known of them."""

FLUX_1 = re.compile(
    r".*(single_transformer_blocks.(\d+).(attn.to_[qkv]|proj_mlp|proj_out)|[._]ff(_context)?.net..+"
    r"|time_text_embed.+|linear1_qkv)"
)
"""Diffusers' names of Flux 1's layers, which ComfyUI takes for klein's too: clora refuses them."""

BOUNDS = {"transformer": 5e-5, "text": 1e-5}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """A family."""
    return str(request.param)


@pytest.fixture(scope="module")
def files(kind: str, tmp_path_factory: pytest.TempPathFactory) -> FlowFiles:
    """A small model in float32."""
    return write_flow(tmp_path_factory.mktemp("flow"), sized_flow(kind), torch.float32, kind=kind)


def figures(tree: Path, what: str, *files: Path) -> dict[str, Any]:
    """What ``flow_parity.py`` finds, in a process of its own: ComfyUI wants one."""
    command = [sys.executable, str(HERE / "flow_parity.py"), str(tree), what, *map(str, files)]
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found.pop("lines") == []
    return found


def agree(found: dict[str, Any]) -> None:
    """Every network answers as ComfyUI's, and every caption has its tokens."""
    assert {name: found[name] for name, most in BOUNDS.items() if found[name] > most} == {}
    assert {name: far for name, far in found["vae"].items() if far > 1e-4} == {}
    assert (found["texts"], found["other tokens"]) == (202, [])


def test_its_modules_give_our_numbers(tree: Path, kind: str, files: FlowFiles) -> None:
    found = figures(tree, "modules", files.transformer, files.text_encoder, files.vae)
    assert KINDS[kind] in found["kind"]
    agree(found)


def test_its_sampler_draws_our_picture(tree: Path, files: FlowFiles) -> None:
    found = figures(tree, "drawn", files.transformer, files.text_encoder, files.vae)
    assert found["difference"] <= 2
    assert found["deviation"] > 2


def test_a_taught_model_is_read_as_well(tree: Path, kind: str, files: FlowFiles, tmp_path: Path) -> None:
    """From the project and exported; its LoRA changes every weight as the model was changed."""
    project, kept, extracted = (tmp_path / name for name in ("model", "kept.safetensors", "x.safetensors"))
    images = Pictures(pictures(tmp_path / "dog_images"), export_lora=kept)
    settings = FLOW.with_values(resolution=64, steps=2)
    add_concept(Request(images, project, base=files.transformer, settings=settings))
    export_lora(project, extracted, rank=4)
    target = files.transformer.with_name("exported.safetensors")
    export_checkpoint(project, target)
    agree(figures(tree, "modules", target, files.text_encoder, files.vae))
    found = figures(tree, "loras", files.transformer, kept, extracted)["worst"]
    assert [one["layers"] for one in found.values()] == [TAUGHT[kind]] * 2
    assert max(one["worst"] for one in found.values()) < 1e-5  # two steps change little: W is rounded


def test_a_written_lora_changes_every_layer_by_its_delta(
    tree: Path, kind: str, files: FlowFiles, tmp_path: Path
) -> None:
    header = model_header(files.transformer)
    modules = families.detect(header, files.transformer).modules(header)
    sites = [target.site for target in modules if not target.module.startswith(APART)]
    file = tmp_path / "all.safetensors"
    write_lora(file, random_factors(sites, rank=2, alpha=3.0), kind, Details("all"), dtype="F32")
    (found,) = figures(tree, "loras", files.transformer, file)["worst"].values()
    assert found["layers"] == len(sites)
    assert found["worst"] < 1e-6


def test_the_published_model_is_detected_with_or_without_the_prefix(
    tree: Path, kind: str, tmp_path: Path
) -> None:
    family: Any = families.load(kind)
    for prefix in ("", "model.diffusion_model."):
        file = published_file(tmp_path / "x.safetensors", kind, prefix=prefix)
        found = figures(tree, "detected", file)
        assert found["kind"] == KINDS[kind]
        config = family.config(model_header(file), file)["transformer"]
        assert {name: found["config"][name] for name in NAMES[kind]} == {
            name: config[own] for name, own in NAMES[kind].items()
        }


def test_every_name_that_it_knows_of_a_layer_is_read_as_that_layer(
    tree: Path, kind: str, tmp_path: Path
) -> None:
    found = figures(tree, "names", published_file(tmp_path / "x.safetensors", kind))
    layers, names = KNOWN[kind]
    assert found["layers"] == layers
    assert found["names"] > names
    assert (found["lost"], found["elsewhere"]) == ([], [])
    assert [stem for stem in found["unknown"] if kind != "flux2_klein_4b" or not FLUX_1.fullmatch(stem)] == []


def test_its_loader_takes_a_model_of_the_published_width(tree: Path, tmp_path: Path) -> None:
    """Nothing of its detection is changed for it; one of the thirty layers has to do."""
    wide = write_flow(tmp_path, sized_flow(width=3840, layers=1), torch.bfloat16)
    found = figures(tree, "modules", wide.transformer, wide.text_encoder, wide.vae)
    assert found["kind"][0] == "ZImage"
    agree(found)
