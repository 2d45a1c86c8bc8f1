"""Start ComfyUI with a torch that has no CUDA: ``python launch.py COMFYUI_DIR [its arguments]``.

torchvision's wheel is built with CUDA and stops at its import because two of its operators are unknown;
declaring them, as importing this does, is enough for all that ComfyUI and diffusers do with it.
"""

import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import torch

if torch.version.cuda is None:
    # Kept: its operators live as long as it does.
    OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def stand_in_for_torchaudio() -> None:
    """Let ComfyUI import torchaudio, which newer ones do unasked; its wheels are built with CUDA as well."""
    if find_spec("torchaudio") is None:
        sys.path.append(str(Path(__file__).parent / "stand_ins"))


def main() -> None:
    """Run ComfyUI's own main."""
    stand_in_for_torchaudio()
    root = Path(sys.argv[1]).resolve()
    sys.argv = [str(root / "main.py"), *sys.argv[2:]]
    sys.path.insert(0, str(root))
    os.chdir(root)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
