"""Models and LoRAs of a ComfyUI or an Automatic1111 on this machine, by their names there.

A name is looked up in the list of what lies in that program's folders: whatever it says, it cannot lead out
of them.
"""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any, Literal

from clora_ext.errors import UsageError, did_you_mean

from .text import quoted

__all__ = ["CHECKPOINTS", "Kind", "find_installed", "installed_names", "is_comfyui", "is_webui"]

Kind = Literal["checkpoint", "LoRA"]

CHECKPOINTS: Mapping[str, Path] = {
    "comfyui": Path("models", "checkpoints"),
    "a1111": Path("models", "Stable-diffusion"),
}
"""Where each program looks for checkpoints, below its own folder."""

_FOLDERS: Mapping[Kind, Mapping[str, tuple[Path, ...]]] = {
    "checkpoint": {
        "comfyui": (CHECKPOINTS["comfyui"], Path("models", "diffusion_models"), Path("models", "unet")),
        "a1111": (CHECKPOINTS["a1111"],),
    },
    "LoRA": {"comfyui": (Path("models", "loras"),), "a1111": (Path("models", "Lora"),)},
}
_TITLES = {"comfyui": "ComfyUI", "a1111": "Automatic1111"}
_VARIABLES = {"comfyui": "CLORA_COMFYUI", "a1111": "CLORA_A1111"}
_PLACES = {  # below the user's home and the working folder: where installers and manuals put them
    "comfyui": ("ComfyUI", "comfy/ComfyUI", "Documents/ComfyUI", "ComfyUI_windows_portable/ComfyUI"),
    "a1111": ("stable-diffusion-webui", "stable-diffusion-webui-forge", "automatic", "webui"),
}
_EXTRA = "extra_model_paths.yaml"
_EXTRA_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "checkpoint": ("checkpoints", "diffusion_models", "unet"),
    "LoRA": ("loras",),
}
_LARGEST = 1 << 20  # bytes of that file
_ENDING = ".safetensors"
_MOST = 20_000  # files that are listed
_DEEPEST = 8  # folders inside each other


def is_comfyui(folder: Path) -> bool:
    """Whether it is a folder of the program, or one that it is given with ``--base-directory``."""
    program = (folder / "main.py").is_file() and (folder / "comfy").is_dir()
    return program or (folder / CHECKPOINTS["comfyui"]).is_dir()


def is_webui(folder: Path) -> bool:
    """Whether it is a folder of Automatic1111, Forge or a relative of theirs."""
    return (folder / "webui.py").is_file() and (folder / CHECKPOINTS["a1111"]).is_dir()


def find_installed(named: Path, kind: Kind) -> Path:
    """The file that ``comfyui:NAME`` or ``a1111:NAME`` means; anything else is a path and given back.

    Raises:
        UsageError: the program is not found, or it has no such file; names the nearest.
    """
    program, colon, name = named.as_posix().partition(":")
    if not colon or program not in _TITLES or os.path.lexists(named):
        return named
    files = _files(program, kind)
    found = files.get(name) or files.get(name + _ENDING)
    if found is None:
        title, near = _TITLES[program], get_close_matches(name, files, n=3, cutoff=0.4)
        fix = f"did you mean {' or '.join(map(quoted, near))}?" if near else f"it has {len(files)} of them"
        raise UsageError(f"{title} has no {kind} {quoted(name)} as {_ENDING}", fix=fix)
    return found


def installed_names(program: str, kind: Kind) -> tuple[str, ...]:
    """What the program has of a kind, by the names that it shows, sorted.

    Raises:
        UsageError: there is no such program, or it is not found.
    """
    if program not in _TITLES:
        raise UsageError(f"unknown program {quoted(program)}", fix=did_you_mean(program, tuple(_TITLES)))
    return tuple(_files(program, kind))


def _files(program: str, kind: Kind) -> dict[str, Path]:
    """Every file by its path below the folder that the program looks into; the first one of a name counts."""
    found: dict[str, Path] = {}
    for folder in _folders(_root(program), program, kind):
        for file in _below(folder):
            if len(found) >= _MOST:
                break
            found.setdefault(file.relative_to(folder).as_posix(), file)
    return dict(sorted(found.items()))


def _root(program: str) -> Path:
    """The program's own folder.

    Raises:
        UsageError: it is nowhere where it would be expected.
    """
    title, variable = _TITLES[program], _VARIABLES[program]
    is_it = {"comfyui": is_comfyui, "a1111": is_webui}[program]
    if given := os.environ.get(variable):
        folder = Path(given).expanduser()
        if not is_it(folder):
            message = f"{variable} says {quoted(given)}, which is not a {title} folder"
            raise UsageError(message, fix=f"set it to the folder that {title} is started in")
        return folder
    for around in (Path.cwd(), Path.home()):
        for place in _PLACES[program]:
            if is_it(around / place):
                return around / place
    fix = f"set {variable} to the folder that {title} is started in"
    raise UsageError(f"no {title} was found in your home or here", fix=fix)


def _folders(root: Path, program: str, kind: Kind) -> Iterator[Path]:
    """Where the program looks for files of a kind."""
    yield from (root / folder for folder in _FOLDERS[kind][program])
    if program == "comfyui":
        yield from _extra_folders(root / _EXTRA, kind)


def _extra_folders(file: Path, kind: Kind) -> Iterator[Path]:
    """Folders that a ComfyUI shares with other programs; what is not as it should be is passed over."""
    sections = [section for section in _extra(file).values() if isinstance(section, dict)]
    for section, key in product(sections, _EXTRA_KEYS[kind]):
        paths = section.get(key)
        if not isinstance(paths, str):
            continue
        base = section.get("base_path")
        base = _expanded(base) if isinstance(base, str) else Path()
        for line in filter(None, map(str.strip, paths.splitlines())):
            yield file.parent / base / _expanded(line)


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()


def _extra(file: Path) -> dict[Any, Any]:
    """The file's content; empty: there is none that can be read."""
    import yaml

    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return {}
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, RuntimeError, ValueError, yaml.YAMLError):  # RecursionError is a RuntimeError
        return {}
    return content if isinstance(content, dict) else {}


def _below(folder: Path) -> Iterator[Path]:
    """Every model file in ``folder`` and deeper; links are followed, but not in circles."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or len(Path(place).relative_to(folder).parts) > _DEEPEST:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place) / name for name in sorted(names) if name.endswith(_ENDING))
