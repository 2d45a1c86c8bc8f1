"""The nodes teach transformers in a real ComfyUI, whose own nodes load and draw what comes of it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import launch  # noqa: F401 - before anything imports diffusers
import numpy as np
import pytest
import torch
from graphs import Graph, drawing, node
from PIL import Image
from safetensors.torch import save_file
from server import HERE, Comfy, pack_in, running
from sized_flow import sized_flow, sized_modules
from small_runs import pictures
from tiny_flow import write_flow

from clora_ext import Project

pytestmark = pytest.mark.comfyui

SIZES = f"""import sys
sys.path.append({str(HERE)!r})
from sizes import teach_sizes
teach_sizes()
NODE_CLASS_MAPPINGS = {{}}
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A family.

    Attributes:
        name: of it.
        title: what people call it.
        file: of the transformer.
        vae: of the VAE.
        clip_type: as what Load CLIP loads the text encoder.
        text: of the text encoder.
    """

    name: str
    title: str
    file: str
    vae: str
    clip_type: str
    text: str = "qwen_3_4b.safetensors"

    @property
    def listed(self) -> str:
        """What Clora Start Project calls it."""
        return f"diffusion_models/{self.file}"


KINDS = (
    Kind("z_image", "Z-Image", "z_image_tiny.safetensors", "ae.safetensors", "lumina2"),
    Kind(
        "flux2_klein_4b", "Flux.2 klein 4B", "flux_klein_base_tiny.safetensors", "flux2-vae.safetensors",
        "flux2",
    ),
    Kind(
        "anima", "Anima", "anima_base_tiny.safetensors", "qwen_image_vae.safetensors", "stable_diffusion",
        "qwen_3_06b_base.safetensors",
    ),
    Kind(
        "krea2", "Krea 2", "krea2_raw_tiny.safetensors", "qwen_image_vae.safetensors", "krea2",
        "qwen3vl_4b.safetensors",
    ),
)  # fmt: skip


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """A family."""
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def host(kind: Kind, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    """A ComfyUI with the nodes, a small model in its folders, and pictures."""
    base = tmp_path_factory.mktemp("flow_nodes")
    pack_in(base)
    write_flow(base / "models", sized_flow(kind.name, layers=1), torch.bfloat16, kind=kind.name)
    (base / "custom_nodes" / "small_sizes").mkdir()
    (base / "custom_nodes" / "small_sizes" / "__init__.py").write_text(SIZES, encoding="utf-8")
    pictures(base / "made")
    shutil.copytree(base / "made", base / "input" / "my_dog")
    shutil.copytree(pictures(base / "more", seed=1), base / "input" / "my_cat")
    with running(base) as server:
        yield server


def taught(project: list[Any], folder: str, **values: Any) -> Graph:
    """Teach a folder and draw with ComfyUI's own sampler."""
    inputs = {
        "strategy": "merge", "preset": "balanced", "steps": 2, "rank": 4, "learning_rate": 0.001, "seed": 0,
        "resolution": 32, "text_encoder": False, "sample_prompt": "", "preview_every": 0, **values,
    }  # fmt: skip
    return {
        "dataset": node("CloraDatasetFromFolder", folder=folder, token="", class_name="", path=""),
        "taught": node("CloraAddConcept", project=project, dataset=["dataset", 0], **inputs),
        **drawing(["taught", 0], ["taught", 1], ["taught", 2], "sks dog", 32, 2),
    }


def first(kind: Kind) -> Graph:
    start = node("CloraStartProject", checkpoint=kind.listed, name="mine")
    return {"start": start, **taught(["start", 3], "my_dog")}


def loaded(kind: Kind, transformer: str) -> Graph:
    """The same picture by ComfyUI's own loaders."""
    return {
        "model": node("UNETLoader", unet_name=transformer, weight_dtype="default"),
        "clip": node("CLIPLoader", clip_name=kind.text, type=kind.clip_type),
        "vae": node("VAELoader", vae_name=kind.vae),
        **drawing(["model", 0], ["clip", 0], ["vae", 0], "sks dog", 32, 2),
    }


def project_of(host: Comfy) -> Project:
    return Project.open(host.base / "output" / "clora" / "mine")


def pixels(host: Comfy, outputs: dict[str, Any], name: str = "saved") -> np.ndarray:
    (file,) = host.pictures({name: outputs[name]})
    return np.asarray(Image.open(file).convert("RGB"))


def test_1_start_project_lists_transformers_and_asks_for_the_rest(host: Comfy, kind: Kind) -> None:
    inputs = host.ask("/object_info/CloraStartProject")["CloraStartProject"]["input"]
    assert inputs["required"]["checkpoint"][1]["options"] == [kind.listed, "clora's built-in demo model"]
    found = "the one that fits"
    assert inputs["optional"]["text_encoder"][1]["options"] == [found, kind.text]
    assert kind.vae in inputs["optional"]["vae"][1]["options"]


def test_2_a_concept_is_taught_and_drawn_as_its_file_is(host: Comfy, kind: Kind) -> None:
    graph = first(kind)
    graph["written"] = node(
        "CloraSaveCheckpoint", project=["taught", 3], name="out", target="comfyui", dtype="as stored"
    )
    drawn = pixels(host, host.run(graph))
    assert project_of(host).tokens == ("sks",)
    assert (host.base / "models" / "diffusion_models" / "out.safetensors").is_file()
    again, base = (pixels(host, host.run(loaded(kind, name))) for name in ("out.safetensors", kind.file))
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, base)
    assert host.trouble() == []


def test_3_a_second_one_with_everything_that_looks_at_it(host: Comfy) -> None:
    graph = {"model": node("CloraLoadModel", project="mine"), **taught(["model", 3], "my_cat")}
    project: list[Any] = ["taught", 3]
    graph |= {
        "report": node("CloraForgettingReport", project=project),
        "info": node("CloraProjectInfo", project=project),
        "own": node(
            "CloraDraw", project=project, prompt="sks dog", count=1, steps=2, guidance=4.0, seed=0, size=32
        ),
        "kept": node("SaveImage", images=["own", 0], filename_prefix="own"),
        "lora": node("CloraExportLora", project=project, name="mine", rank=8),
        "everything": node(
            "CloraSaveCheckpoint", project=project, name="all", target="comfyui", dtype="as stored",
            all_in_one=True,
        ),
    }  # fmt: skip
    outputs = host.run(graph)
    assert project_of(host).number == 2
    assert "| 2 | zwz my cat | merge |" in outputs["info"]["text"][0]
    assert len(host.pictures({"report": outputs["report"]})) == 1
    assert pixels(host, outputs, "kept").shape == (32, 32, 3)
    whole = {
        "model": node("CheckpointLoaderSimple", ckpt_name="all.safetensors"),
        **drawing(["model", 0], ["model", 1], ["model", 2], "sks dog", 32, 2),
    }
    assert np.array_equal(pixels(host, outputs), pixels(host, host.run(whole)))
    assert host.trouble() == []


def test_4_its_lora_is_applied_whole_to_the_base(host: Comfy, kind: Kind) -> None:
    (host.base / "models" / "loras").mkdir(exist_ok=True)
    shutil.copy(host.base / "output" / "loras" / "mine.safetensors", host.base / "models" / "loras")
    base = loaded(kind, kind.file)
    graph = {
        **base,
        "lora": node(
            "LoraLoaderModelOnly", model=["model", 0], lora_name="mine.safetensors", strength_model=1.0
        ),
    }
    graph["sampler"] = node("KSampler", **{**base["sampler"]["inputs"], "model": ["lora", 0]})
    assert not np.array_equal(pixels(host, host.run(graph)), pixels(host, host.run(base)))
    assert host.trouble() == []


def test_5_undo_and_the_first_is_there_at_once(host: Comfy, kind: Kind) -> None:
    graph = {
        "model": node("CloraLoadModel", project="mine"),
        "undone": node("CloraUndo", project=["model", 3], concepts=1),
        "info": node("CloraProjectInfo", project=["undone", 3]),
    }
    host.run(graph)
    state = project_of(host).current
    assert project_of(host).number == 1
    again = first(kind)
    again["sampler"]["inputs"]["seed"] = 2
    host.run(again)
    assert project_of(host).current == state


def test_6_a_base_by_diffusers_names_is_taught_and_drawn_alike(host: Comfy, kind: Kind) -> None:
    if kind.name == "anima":
        pytest.skip("diffusers' file has the transformer without what reads for it")
    name = f"diffusers_{kind.file}"
    state = sized_modules(kind.name, layers=1)["transformer"].bfloat16().state_dict()
    save_file(state, host.base / "models" / "diffusion_models" / name)
    start = node("CloraStartProject", checkpoint=f"diffusion_models/{name}", name="other")
    drawn = pixels(host, host.run({"start": start, **taught(["start", 3], "my_dog")}))
    assert np.array_equal(drawn, pixels(host, host.run(loaded(kind, "out.safetensors"))))


def test_7_web_interfaces_are_refused_by_name(host: Comfy, kind: Kind) -> None:
    graph = {
        "model": node("CloraLoadModel", project="mine"),
        "written": node(
            "CloraSaveCheckpoint", project=["model", 3], name="out", target="a1111", dtype="as stored"
        ),
    }
    (told,) = host.complaints(graph)
    assert f"web UIs cannot load {kind.title}" in told
