"""As much of ComfyUI as the nodes touch, with its names and signatures; `tests/comfyui` checks them there."""

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_models import (
    EPS,
    UNET,
    V_PREDICTION,
    VAE,
    ModelSamplingDiscrete,
    Patcher,
    load_clip,
    load_diffusion_model,
    load_diffusion_model_state_dict,
    load_torch_file,
)
from safetensors.torch import load_file


class InterruptProcessingException(Exception): ...


@dataclass
class Comfy:
    """What a test may look at and set."""

    base: Path
    known: bool = True
    interrupted: bool = False
    unloaded: int = 0
    bars: list["Bar"] = field(default_factory=list)
    on_step: Callable[["Bar"], None] = lambda bar: None

    def interrupt_when(self, step: int) -> None:
        """Press cancel at a step of a progress bar."""

        def press(bar: "Bar") -> None:
            self.interrupted = self.interrupted or (bar.current == step and bar.total > step)

        self.on_step = press


@dataclass
class Bar:
    """A progress bar."""

    total: int
    current: int = 0
    previews: list[Any] = field(default_factory=list)

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.total = self.total if total is None else total
        self.current = value
        if preview is not None:
            self.previews.append(preview)


class Kind:
    """A type of wire or widget: Input and Output take what ComfyUI's take."""

    def __init__(self, name: str) -> None:
        self.name = name

    def Input(self, id: str, **options: Any) -> "Socket":  # noqa: A002, N802 - their names there
        return Socket(self.name, id, options)

    def Output(self, id: str | None = None, **options: Any) -> "Socket":  # noqa: A002, N802
        return Socket(self.name, id, options)


@dataclass
class Socket:
    """An input or output."""

    kind: str
    id: str | None
    options: dict[str, Any]


@dataclass
class Schema:
    """What a node looks like."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Socket] = field(default_factory=list)
    outputs: list[Socket] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    description: str = ""
    is_output_node: bool = False


class ComfyNode:
    """Base of all nodes.

    ComfyUI executes nodes in inference mode, in which nothing can be trained; so does every call here.
    """

    def __init_subclass__(cls) -> None:
        if "execute" in vars(cls):
            cls.execute = classmethod(_in_inference_mode(cls.execute.__func__))


def _in_inference_mode(execute: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(execute)
    def executed(*args: Any, **inputs: Any) -> Any:
        with torch.inference_mode():
            return execute(*args, **inputs)

    return executed


class NodeOutput:
    """What a node gives."""

    def __init__(self, *args: Any, ui: Any = None) -> None:
        self.args, self.ui = args, ui


class ComfyExtension:
    """Base of all extensions."""


@dataclass
class ExecutionBlocker:
    """Stops whoever uses it."""

    message: str | None


@dataclass
class Shown:
    """Something on the node."""

    value: Any
    cls: Any = None


def install(patch: pytest.MonkeyPatch, comfy: Comfy) -> None:
    """Make all of it importable."""
    for name, members in _modules(comfy).items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        patch.setitem(sys.modules, name, module)
        parent, _, leaf = name.rpartition(".")
        if parent:
            patch.setattr(sys.modules[parent], leaf, module, raising=False)


def _modules(comfy: Comfy) -> dict[str, dict[str, Any]]:
    kinds = {name: Kind(name.upper()) for name in ("Model", "Clip", "Vae", "Image", "Int", "Float", "String")}
    kinds |= {name: Kind(name.upper()) for name in ("Boolean", "Combo")}
    api = types.SimpleNamespace(
        **kinds, Custom=Kind, Schema=Schema, ComfyNode=ComfyNode, NodeOutput=NodeOutput
    )
    shown = types.SimpleNamespace(PreviewImage=Shown, PreviewText=Shown)
    return {
        "comfy": {},
        "comfy.model_management": _management(comfy),
        "comfy.model_sampling": {kind.__name__: kind for kind in (EPS, V_PREDICTION, ModelSamplingDiscrete)},
        "comfy.utils": {"ProgressBar": lambda total: _bar(comfy, total), "load_torch_file": load_torch_file},
        "comfy.sd": {
            "load_checkpoint_guess_config": lambda path, **options: _load(comfy, path, **options),
            "load_diffusion_model": load_diffusion_model,
            "load_diffusion_model_state_dict": load_diffusion_model_state_dict,
            "load_clip": load_clip,
            "CLIPType": types.SimpleNamespace(
                LUMINA2="lumina2", FLUX2="flux2", STABLE_DIFFUSION="stable_diffusion", KREA2="krea2"
            ),
            "VAE": VAE,
        },
        "comfyui_version": {"__version__": "0.33.0"},
        "folder_paths": _paths(comfy),
        "comfy_api": {},
        "comfy_api.latest": {"ComfyExtension": ComfyExtension, "io": api, "ui": shown},
        "comfy_execution": {},
        "comfy_execution.graph_utils": {"ExecutionBlocker": ExecutionBlocker},
    }


def _management(comfy: Comfy) -> dict[str, Any]:
    def check() -> None:
        if comfy.interrupted:
            comfy.interrupted = False
            raise InterruptProcessingException

    def unload() -> None:
        comfy.unloaded += 1

    return {
        "InterruptProcessingException": InterruptProcessingException,
        "throw_exception_if_processing_interrupted": check,
        "unload_all_models": unload,
        "soft_empty_cache": lambda: None,
    }


def _bar(comfy: Comfy, total: int) -> Bar:
    class Watched(Bar):
        def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
            super().update_absolute(value, total, preview)
            comfy.on_step(self)

    bar = Watched(total)
    comfy.bars.append(bar)
    return bar


def _load(
    comfy: Comfy, path: str, *, output_vae: bool, output_clip: bool, embedding_directory: list[str],
    output_model: bool = True,
) -> tuple[Any, Any, Any, None]:  # fmt: skip
    if not comfy.known:
        message = f"ERROR: Could not detect model type of: {path}"
        raise RuntimeError(message)
    state = load_file(path)
    unet = {name.removeprefix("model."): value for name, value in state.items() if name.startswith(UNET)}
    model = Patcher(unet) if output_model else None
    return model, ("clip", path) if output_clip else None, ("vae", path) if output_vae else None, None


def _paths(comfy: Comfy) -> dict[str, Any]:
    def listed(kind: str) -> list[str]:
        return sorted(path.name for path in (comfy.base / "models" / kind).glob("*"))

    def full(kind: str, name: str) -> str:
        path = comfy.base / "models" / kind / name
        if not path.exists():
            raise FileNotFoundError(name)
        return str(path)

    return {
        "base_path": str(comfy.base),
        "get_filename_list": listed,
        "get_full_path_or_raise": full,
        "get_folder_paths": lambda kind: [str(comfy.base / "models" / kind)],
        "get_output_directory": lambda: str(comfy.base / "output"),
        "get_input_directory": lambda: str(comfy.base / "input"),
        "get_temp_directory": lambda: str(comfy.base / "temp"),
    }
