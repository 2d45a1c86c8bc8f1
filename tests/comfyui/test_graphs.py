"""The nodes in a real ComfyUI: every example workflow, cancel and resume, and the page in a real browser."""

import inspect
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import by_hand, shot_of
from graphs import Graph, node, text_to_image
from PIL import Image
from server import HERE, Comfy, pack_in, running
from small_runs import pictures
from taught import Taught
from workflows import BY_HAND, export_for_a1111, first_concept, four_strategies, second_concept

from clora_ext import Project, strategies

pytestmark = pytest.mark.comfyui

FAST: dict[str, Any] = {
    "steps": 3, "rank": 4, "learning_rate": 0.0001, "preview_every": 2, "resolution": 64,
    "size": 64, "draw_steps": 2,
}  # fmt: skip
WORKFLOWS = HERE.parents[1] / "example_workflows"


@pytest.fixture(scope="module")
def host(tree: Path, taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comfy]:
    """A ComfyUI with the nodes, the mini SD 1.5 and some pictures."""
    base = tmp_path_factory.mktemp("nodes")
    pack_in(base)
    (base / "models" / "checkpoints").mkdir(parents=True)
    shutil.copy(taught.base, base / "models" / "checkpoints" / "mini.safetensors")
    pictures(base / "made")
    shutil.copytree(base / "made", base / "input" / "my_style", dirs_exist_ok=True)
    shutil.copytree(base / "made", base / "input", dirs_exist_ok=True)
    with running(base) as server:
        yield server


def first(**values: Any) -> Graph:
    return first_concept("mini.safetensors", ("0.png", "1.png", "2.png"), **{**FAST, **values})


def project_of(host: Comfy, name: str = "my-model") -> Project:
    return Project.open(host.base / "output" / "clora" / name)


def pixels(host: Comfy, outputs: dict[str, Any], name: str) -> np.ndarray:
    (file,) = host.pictures({name: outputs[name]})
    return np.asarray(Image.open(file).convert("RGB"))


def test_every_node_is_known_with_its_help_and_texts(host: Comfy) -> None:
    known = host.ask("/object_info")
    ours = {name for name in known if name.startswith("Clora")}
    pages = {page.stem for page in (HERE.parents[1] / "comfyui_nodes" / "web" / "docs").glob("*.md")}
    assert ours == pages
    options = known["CloraAddConcept"]["input"]["required"]["strategy"][1]["options"]
    assert sorted(options) == list(strategies.names())
    assert options[0] == "distill"
    assert set(host.ask("/i18n")["en"]["nodeDefs"]) >= ours
    assert set(host.ask("/workflow_templates")["clora"]) == {file.stem for file in WORKFLOWS.glob("*.json")}


def test_1_the_first_concept(host: Comfy) -> None:
    outputs = host.run(first())
    assert project_of(host).tokens == ("sks",)
    assert pixels(host, outputs, "saved").shape == (64, 64, 3)
    assert host.trouble() == []


def test_2_equal_inputs_are_there_at_once(host: Comfy) -> None:
    state = project_of(host).current
    changed = first()
    changed["sampler"]["inputs"]["seed"] = 2
    host.run(changed)
    assert project_of(host).current == state


def test_3_the_model_in_memory_draws_the_same_pixels_as_the_saved_file(host: Comfy) -> None:
    graph = first()
    graph["written"] = node(
        "CloraSaveCheckpoint", project=["taught", 3], name="saved", target="comfyui", dtype="as stored",
        webui_folder="",
    )  # fmt: skip
    outputs = host.run(graph)
    reloaded = text_to_image("saved.safetensors", "a photo of sks dog")
    reloaded["sampler"] = {
        **graph["sampler"],
        "inputs": {**graph["sampler"]["inputs"], "model": ["model", 0]},
    }
    again = host.run(reloaded)
    assert np.array_equal(pixels(host, outputs, "saved"), pixels(host, again, "saved"))
    assert host.trouble() == []


def test_4_a_second_concept_with_its_report(host: Comfy) -> None:
    outputs = host.run(second_concept(folder="my_style", **{**FAST, "seed": 5}))
    assert project_of(host).number == 2
    assert len(host.pictures({"report": outputs["report"]})) == 1
    assert pixels(host, outputs, "loss").shape == (450, 800, 3)


def test_5_four_strategies_are_compared(host: Comfy) -> None:
    (host.base / "input" / "toys").mkdir()
    shutil.copy(pictures(host.base / "toys", count=2, seed=7) / "1.png", host.base / "input" / "toys")
    outputs = host.run(four_strategies(folder="toys", **FAST))
    for strategy in ("naive", "merge", "orthogonal", "mask"):
        copy = project_of(host, f"my-model-{strategy}")
        assert [concept.strategy for concept in copy.concepts] == ["distill", "distill", strategy]
        assert len(outputs[f"report_{strategy}"]["images"]) == 1
    assert project_of(host).number == 2


def test_6_everything_is_exported(host: Comfy) -> None:
    outputs = host.run(export_for_a1111(rank=8))
    assert "| 2 | zwz my style | distill |" in outputs["info"]["text"][0]
    told = outputs["checkpoint"]["text"][0].splitlines()
    assert [Path(line).is_file() for line in told] == [True, True]
    assert (host.base / "output" / "loras" / "my-model.safetensors").is_file()
    picture = pixels(host, host.run(text_to_image("my-model.safetensors", "sks dog")), "saved")
    assert picture.std() > 1
    assert host.trouble() == []


def test_7_cancel_stops_and_queueing_again_goes_on(host: Comfy) -> None:
    graph = first(steps=40, preview_every=0)
    graph["start"]["inputs"]["name"] = "cancelled"
    queued = host.queue(graph)
    folder = host.base / "output" / "clora" / "cancelled"
    until = time.monotonic() + 300
    while not (folder / "training").is_dir() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(8)  # into the training
    host.ask("/interrupt", {})
    history = host.wait(queued)
    assert [kind for kind, _ in history["status"]["messages"]][-1] == "execution_interrupted"
    assert not Project.exists(folder)
    host.run(graph)
    assert project_of(host, "cancelled").number == 1


def test_8_undo(host: Comfy) -> None:
    graph = {
        "model": node("CloraLoadModel", project="my-model"),
        "undone": node("CloraUndo", project=["model", 3], concepts=1),
        "info": node("CloraProjectInfo", project=["undone", 3]),
    }
    host.run(graph)
    assert project_of(host).number == 1


def test_a_project_that_another_run_works_in_is_told(host: Comfy) -> None:
    graph = second_concept(folder="toys", **{**FAST, "seed": 9})
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with Project.writing(project_of(host).folder):
            entered.set()
            leave.wait(120)

    worker = threading.Thread(target=work)
    worker.start()
    entered.wait(30)
    history = host.wait(host.queue(graph))
    leave.set()
    worker.join()
    assert history["status"]["status_str"] == "error"
    message = history["status"]["messages"][-1][1]["exception_message"]
    assert "another" in message


def test_the_demo_model_is_taught_too(host: Comfy) -> None:
    graph = first(steps=2)
    graph["start"]["inputs"] = {"checkpoint": "clora's built-in demo model", "name": "demo"}
    drawn = {name: graph[name] for name in graph if name.startswith(("start", "image", "dataset", "taught"))}
    drawn["drawn"] = node(
        "CloraDraw", project=["taught", 3], prompt="sks dog", count=1, steps=2, guidance=4.0, seed=0
    )
    drawn["saved"] = node("SaveImage", images=["drawn", 0], filename_prefix="demo")
    assert pixels(host, host.run(drawn), "saved").shape == (64, 64, 3)
    (told, *_) = host.complaints(graph)
    assert "does not know clora's small demo model" in told


@pytest.mark.parametrize("name", sorted(file.stem for file in WORKFLOWS.glob("*.json")))
def test_the_page_opens_every_example(host: Comfy, name: str, tmp_path: Path) -> None:
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))
    found = shot_of(host.url, workflow, tmp_path / "page.png")
    assert found == {"nodes": [], "errors": []}
    with Image.open(tmp_path / "page.png") as page:
        assert page.size == (1600, 1000)


def test_an_artist_needs_mouse_and_keyboard_alone(host: Comfy, tmp_path: Path) -> None:
    images = [str(file) for file in sorted((host.base / "made").glob("*.png"))]
    shot = tmp_path / "page.png"
    values = {"template": "1 first concept", "images": [*images, images[0]]}
    found = by_hand(host.url, shot, **values, texts=BY_HAND, seconds=400)
    assert found == {"errors": []}
    (concept,) = project_of(host, "by-hand").concepts
    assert concept.settings["schedule"]["steps"] == 3
    assert len(concept.images) == 3  # the fourth is the first again
    print(shot)


def test_the_fake_has_the_real_names_and_signatures(tree: Path) -> None:
    """What the nodes' other tests stand on is there, and takes what they give it."""
    done = subprocess.run(
        [sys.executable, str(HERE / "signatures.py"), str(tree)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert inspect.isfunction(shot_of)
