"""The nodes in a real ComfyUI that computes on a GPU."""

import shutil
from pathlib import Path

import pytest
from server import TREE, pack_in, running_on_gpu
from small_runs import pictures
from taught import Taught
from workflows import first_concept

from clora_ext import Project

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not TREE, reason="no ComfyUI: COMFYUI_DIR is not set"),
]


def test_a_concept_is_taught_and_drawn_on_the_gpu(taught: Taught, tmp_path: Path) -> None:
    """Teaching, previews and ComfyUI's own sampler share one card."""
    pack_in(tmp_path)
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    shutil.copy(taught.base, tmp_path / "models" / "checkpoints" / "mini.safetensors")
    pictures(tmp_path / "made")
    shutil.copytree(tmp_path / "made", tmp_path / "input", dirs_exist_ok=True)
    fast = {"steps": 3, "rank": 4, "preview_every": 2, "resolution": 64, "size": 64, "draw_steps": 2}
    graph = first_concept("mini.safetensors", ("0.png", "1.png", "2.png"), learning_rate=0.0001, **fast)
    with running_on_gpu(tmp_path) as server:
        devices = server.ask("/system_stats")["devices"]
        assert {one["type"] for one in devices} == {"cuda"}
        assert server.complaints(graph) == []
        assert server.trouble() == []
    project = Project.open(tmp_path / "output" / "clora" / "my-model")
    assert project.number == 1
