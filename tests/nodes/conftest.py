"""The pack, loaded by path as ComfyUI loads it, beside a fake of ComfyUI; no real one is needed."""

import gc
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_comfy import Comfy, install
from tiny_model import write_tiny_model

from clora_ext.sampling.samples import SamplePrompt

ROOT = Path(__file__).parents[2]
SAMPLE = SamplePrompt._sample


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture(autouse=True)
def _quick_collections() -> None:
    """The nodes and the engine collect garbage; that need not look at every imported module each time."""
    gc.collect()
    gc.freeze()


def quick_sample(self: SamplePrompt, model: Any, prompt: Any, seeds: range, on_step: Any) -> Any:
    """One real sample of one step, where four of thirty were asked for."""
    quick = replace(self, settings=replace(self.settings, sample_steps=1))
    return SAMPLE(quick, model, prompt, seeds[:1], on_step)


@pytest.fixture
def comfy(tmp_path: Path, tiny: Path) -> Iterator[Comfy]:
    """ComfyUI's folders with one checkpoint in them."""
    for name in ("models/checkpoints", "models/loras", "models/embeddings", "input", "output", "temp"):
        (tmp_path / "comfy" / name).mkdir(parents=True)
    (tmp_path / "comfy" / "models" / "checkpoints" / "tiny.safetensors").symlink_to(tiny)
    with pytest.MonkeyPatch.context() as patch:
        found = Comfy(tmp_path / "comfy")
        install(patch, found)
        patch.setattr(SamplePrompt, "_sample", quick_sample)
        yield found


@pytest.fixture
def pack(comfy: Comfy) -> Iterator[Any]:
    """The nodes by their ids, from the repository's folder, under a name made of its path."""
    name = str(ROOT).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        module.comfy_entrypoint()
        extension = sys.modules[f"{name}.comfyui_nodes.extension"]
        nodes = {node.define_schema().node_id.removeprefix("Clora"): node for node in extension.NODES}
        yield SimpleNamespace(module=module, nodes=nodes, **nodes)
    finally:
        for loaded in [one for one in sys.modules if one.startswith(name)]:
            del sys.modules[loaded]
