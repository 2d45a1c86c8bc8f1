"""clora's MODEL and CLIP under ComfyUI's own nodes: what they do to it they do to the saved file alike."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cases import check_each
from control_net import write_control_net
from graphs import Graph, drawing, node
from PIL import Image
from safetensors.torch import load_file
from server import Comfy, pack_in, running
from small_runs import pictures
from taught import Taught
from workflows import first_concept

pytestmark = pytest.mark.comfyui

TEACHING = {
    "steps": 3,
    "rank": 4,
    "learning_rate": 0.001,
    "preview_every": 0,
    "resolution": 64,
    "text_encoder": True,
}
Wire = list[Any]
Way = Callable[[Wire, Wire], tuple[Graph, Wire, Wire]]
"""From MODEL and CLIP to further nodes, and what they make of the two."""


@pytest.fixture(scope="module")
def host(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    """A ComfyUI with the nodes, a mini SD 1.5, a LoRA and a ControlNet for it, and some pictures."""
    base = tmp_path_factory.mktemp("beside")
    pack_in(base)
    for name in ("checkpoints", "loras", "controlnet"):
        (base / "models" / name).mkdir(parents=True)
    shutil.copy(taught.base, base / "models" / "checkpoints" / "mini.safetensors")
    shutil.copy(taught.kept, base / "models" / "loras" / "kept.safetensors")
    write_control_net(taught.base, base / "models" / "controlnet" / "control.safetensors")
    pictures(base / "input")
    with running(base) as server:
        yield server


def plain(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    return {}, model, clip


def with_lora(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    lora = {"lora_name": "kept.safetensors", "strength_model": 0.7, "strength_clip": 0.7}
    return {"lora": node("LoraLoader", model=model, clip=clip, **lora)}, ["lora", 0], ["lora", 1]


def with_two_loras(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    graph, model, clip = with_lora(model, clip)
    second = {"lora_name": "kept.safetensors", "strength_model": -0.4, "strength_clip": 0.5}
    graph["second"] = node("LoraLoader", model=model, clip=clip, **second)
    return graph, ["second", 0], ["second", 1]


def merged_into_the_base(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    return _merged(["base", 0], model), ["merged", 0], clip


def the_base_merged_into_it(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    return _merged(model, ["base", 0]), ["merged", 0], clip


def _merged(first: Wire, second: Wire) -> Graph:
    return {
        "base": node("CheckpointLoaderSimple", ckpt_name="mini.safetensors"),
        "merged": node("ModelMergeSimple", model1=first, model2=second, ratio=0.3),
    }


def with_patched_attention(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    # Not FreeU: it changes layers of twice and four times the first one's width, and this model has none.
    return {"patched": node("PerturbedAttentionGuidance", model=model, scale=3.0)}, ["patched", 0], clip


def with_a_lora_hook(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    graph = {
        "hook": node("CreateHookLora", lora_name="kept.safetensors", strength_model=0.7, strength_clip=0.7),
        "hooked": node(
            "SetClipHooks", clip=clip, apply_to_conds=True, schedule_clip=False, hooks=["hook", 0]
        ),
    }
    return graph, model, ["hooked", 0]


def with_a_control_net(model: Wire, clip: Wire) -> tuple[Graph, Wire, Wire]:
    return {}, model, clip  # the net goes to the prompt: see branch


WAYS: tuple[Way, ...] = (
    plain, with_lora, with_two_loras, merged_into_the_base, the_base_merged_into_it, with_patched_attention,
    with_a_lora_hook, with_a_control_net,
)  # fmt: skip


def teaching() -> Graph:
    """Nodes that teach; their MODEL carries patches, their CLIP was read anew."""
    graph = first_concept("mini.safetensors", ("0.png", "1.png", "2.png"), **TEACHING)
    ours = ("start", "image", "dataset", "taught")
    return {name: made for name, made in graph.items() if name.startswith(ours)}


def branch(way: Way, model: Wire, clip: Wire, vae: Wire) -> Graph:
    """Nodes of their own that draw by one way."""
    more, model, clip = way(model, clip)
    graph = {**more, **drawing(model, clip, vae, "a photo of sks dog", 64, 2)}
    if way is with_a_control_net:
        steer_by_a_net(graph)

    def own(value: Any) -> Any:
        mine = isinstance(value, list) and value[0] in graph
        return [f"{way.__name__} {value[0]}", value[1]] if mine else value

    return {
        f"{way.__name__} {name}": node(
            made["class_type"], **{key: own(value) for key, value in made["inputs"].items()}
        )
        for name, made in graph.items()
    }


def steer_by_a_net(graph: Graph) -> None:
    graph["net"] = node("ControlNetLoader", control_net_name="control.safetensors")
    graph["hint"] = node("LoadImage", image="0.png")
    graph["steered"] = node(
        "ControlNetApply",
        conditioning=["positive", 0],
        control_net=["net", 0],
        image=["hint", 0],
        strength=1.0,
    )
    graph["sampler"]["inputs"]["positive"] = ["steered", 0]


def all_ways(host: Comfy, source: Graph, wires: tuple[Wire, Wire, Wire]) -> dict[Way, np.ndarray]:
    """What every way draws, of one prompt: nodes that are run again find the concept learned, in a file."""
    graph = dict(source)
    for way in WAYS:
        graph |= branch(way, *wires)
    outputs = host.run(graph)
    return {way: picture(host, outputs[f"{way.__name__} saved"]) for way in WAYS}


def picture(host: Comfy, output: Any) -> np.ndarray:
    (file,) = host.pictures({"saved": output})
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.int16)


@pytest.fixture(scope="module")
def by_wires(host: Comfy) -> dict[Way, np.ndarray]:
    """Taught and drawn in one prompt, which writes the model too, by clora and by ComfyUI."""
    save = {"target": "comfyui", "dtype": "as stored", "webui_folder": ""}
    wires = (["taught", 0], ["taught", 1], ["taught", 2])
    theirs = dict(zip(("model", "clip", "vae"), wires, strict=True))
    writing = {
        "ours": node("CloraSaveCheckpoint", project=["taught", 3], name="saved", **save),
        "theirs": node("CheckpointSave", filename_prefix="checkpoints/theirs", **theirs),
    }
    return all_ways(host, {**teaching(), **writing}, wires)


def test_other_nodes_do_to_the_wires_what_they_do_to_the_file(
    host: Comfy, by_wires: dict[Way, np.ndarray]
) -> None:
    loaded = {"model": node("CheckpointLoaderSimple", ckpt_name="saved.safetensors")}
    by_file = all_ways(host, loaded, (["model", 0], ["model", 1], ["model", 2]))

    def check(way: Way) -> None:
        assert np.array_equal(by_wires[way], by_file[way]), np.abs(by_wires[way] - by_file[way]).max()
        assert way is plain or not np.array_equal(by_file[way], by_file[plain])  # the nodes do something

    check_each(WAYS, check)
    assert host.trouble() == []


@pytest.mark.usefixtures("by_wires")
def test_comfyuis_own_checkpoint_of_the_wires_holds_what_ours_does(host: Comfy) -> None:
    (file,) = (host.base / "output" / "checkpoints").glob("theirs*.safetensors")
    ours = load_file(host.base / "models" / "checkpoints" / "saved.safetensors")
    theirs = load_file(file)
    assert set(ours) - set(theirs) == set()
    extra = set(theirs) - set(ours)
    assert {name.rpartition(".")[2] for name in extra} <= {"logit_scale", "text_projection", "weight"}, extra
    different = [name for name in ours if not np.array_equal(ours[name].float(), theirs[name].float())]
    assert different == []


def test_what_the_start_node_is_told_of_the_prediction_is_how_its_model_samples(host: Comfy) -> None:
    told = {"prediction": "v", "zero_snr": "yes"}
    start = {"start": node("CloraStartProject", checkpoint="mini.safetensors", name="by-v", **told)}
    base = {"base": node("CheckpointLoaderSimple", ckpt_name="mini.safetensors")}
    sampling = {
        "sampling": node("ModelSamplingDiscrete", model=["base", 0], sampling="v_prediction", zsnr=True)
    }
    others = (["base", 1], ["base", 2])
    ours = branch(plain, ["start", 0], ["start", 1], ["start", 2])
    theirs = branch(plain, ["sampling", 0], *others)
    as_seen = branch(plain, ["base", 0], *others)
    drawn = [
        picture(host, host.run(graph)["plain saved"])
        for graph in ({**start, **ours}, {**base, **sampling, **theirs}, {**base, **as_seen})
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
