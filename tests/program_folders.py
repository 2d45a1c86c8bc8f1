"""Folders laid out as the programs have them, and what is in a folder."""

from pathlib import Path


def make(folder: Path, *paths: str) -> Path:
    """A folder with these files, and folders where a path ends with a slash."""
    for path in paths:
        if path.endswith("/"):
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"theirs")
    return folder


COMFYUI = ("main.py", "comfy/", "models/checkpoints/put_checkpoints_here")
A1111 = ("webui.py", "modules/", "models/Stable-diffusion/other.safetensors")
FORGE = (*A1111, "modules_forge/")
LAYOUTS = {"comfyui": COMFYUI, "a1111": A1111, "forge": FORGE}
PLACES = {name: "models/checkpoints" if name == "comfyui" else "models/Stable-diffusion" for name in LAYOUTS}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def new_files(folder: Path, *theirs: str) -> set[str]:
    return set(content(folder)) - {path for path in theirs if not path.endswith("/")}
