"""The four example workflows, as prompts; `make_examples.py` has the page make workflow files of them."""

from typing import Any

from graphs import Graph, drawing, node

CHECKPOINT = "v1-5-pruned-emaonly.safetensors"
PROJECT = "my-model"
DEMO = "clora's built-in demo model"


def first_concept(
    checkpoint: str = CHECKPOINT, images: tuple[str, ...] = ("example.png",) * 4, **values: Any
) -> Graph:
    """Choose images, teach them, draw with them."""
    loads = {f"image{i}": node("LoadImage", image=name) for i, name in enumerate(images, start=1)}
    return {
        "start": node("CloraStartProject", checkpoint=checkpoint, name=PROJECT),
        **loads,
        "dataset": _dataset_from_images(list(loads), class_name="dog"),
        "taught": _add_concept(["start", 3], ["dataset", 0], **values),
        **_picture("taught", **values),
    }


def second_concept(project: str = PROJECT, folder: str = "my_style", **values: Any) -> Graph:
    """Go on with a project, teach a folder, and see what the first concept became."""
    return {
        "model": node("CloraLoadModel", project=project),
        "dataset": node("CloraDatasetFromFolder", folder=folder, token="", class_name="", path=""),
        "taught": _add_concept(["model", 3], ["dataset", 0], **values),
        "loss": node("CloraLossPlot", report=["taught", 6]),
        "report": node("CloraForgettingReport", project=["taught", 3]),
        **_picture("taught", **values),
    }


def four_strategies(project: str = PROJECT, folder: str = "my_style", **values: Any) -> Graph:
    """Teach four copies of one project, one by each strategy, and compare."""
    graph: Graph = {
        "model": node("CloraLoadModel", project=project),
        "dataset": node("CloraDatasetFromFolder", folder=folder, token="", class_name="", path=""),
    }
    for strategy in ("naive", "merge", "orthogonal", "mask"):
        name = f"by_{strategy}"
        own = {"strategy": strategy, "copy_to": f"{project}-{strategy}", **values}
        graph[name] = _add_concept(["model", 3], ["dataset", 0], **own)
        graph[f"report_{strategy}"] = node("CloraForgettingReport", project=[name, 3])
    return graph


def export_for_a1111(project: str = PROJECT, **values: Any) -> Graph:
    """Write checkpoint and LoRA, and tell what is in them."""
    return {
        "model": node("CloraLoadModel", project=project),
        "checkpoint": node(
            "CloraSaveCheckpoint",
            project=["model", 3],
            name=project,
            target="both",
            dtype="as stored",
            webui_folder="",
        ),
        "lora": node("CloraExportLora", project=["model", 3], name=project, rank=values.get("rank", 64)),
        "info": node("CloraProjectInfo", project=["model", 3]),
    }


def demo_model(images: tuple[str, ...]) -> Graph:
    """The first example with the built-in model, which clora's own sampler draws."""
    graph = first_concept(DEMO, images, preview_every=40)
    kept = ("start", "image", "dataset", "taught")
    shown = {name: found for name, found in graph.items() if name.startswith(kept)}
    shown["start"]["inputs"]["name"] = "demo"
    shown["drawn"] = node(
        "CloraDraw", project=["taught", 3], prompt="sks dog, blue background", count=4, steps=30,
        guidance=4.0, seed=0,
    )  # fmt: skip
    shown["saved"] = node("SaveImage", images=["drawn", 0], filename_prefix="clora")
    return shown


EXAMPLES = {
    "1 first concept": first_concept,
    "2 second concept": second_concept,
    "3 compare four strategies": four_strategies,
    "4 export to Automatic1111": export_for_a1111,
}


BY_HAND: dict[str, dict[str, object]] = {
    "Clora Start Project": {"checkpoint": "mini", "name": "by-hand"},
    "Clora Add Concept": {"steps": 3, "resolution": 64, "preview_every": 2},
    "Empty Latent Image": {"width": 64, "height": 64},
    "KSampler": {"steps": 2},
}
"""What is typed into the first example by hand, by node and field, so that a small model does it soon."""


def _dataset_from_images(loads: list[str], class_name: str) -> dict[str, Any]:
    first, *others = loads
    more = {f"images_{i}": [name, 0] for i, name in enumerate(others, start=2)}
    words = {"token": "", "class_name": class_name, "captions": ""}
    return node("CloraDatasetFromImages", images=[first, 0], **words, **more)


def _add_concept(project: Any, dataset: Any, **values: Any) -> dict[str, Any]:
    inputs: dict[str, Any] = {
        "strategy": "distill", "preset": "balanced", "steps": 0, "rank": 0, "learning_rate": 0.0, "seed": 0,
        "resolution": 0, "text_encoder": False, "sample_prompt": "", "preview_every": 50, "copy_to": "",
    }  # fmt: skip
    inputs |= {name: value for name, value in values.items() if name in inputs}
    return node("CloraAddConcept", project=project, dataset=dataset, **inputs)


def _picture(taught: str, size: int = 512, draw_steps: int = 20, **_: Any) -> Graph:
    """Draw the new concept with ComfyUI's own sampler."""
    return {
        "prompt": node("CloraConceptPrompt", project=[taught, 3], concept=0, prompt="a photo of {concept}"),
        **drawing([taught, 0], [taught, 1], [taught, 2], ["prompt", 0], size, draw_steps),
    }
