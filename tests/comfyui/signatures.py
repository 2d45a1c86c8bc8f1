"""Has a real ComfyUI what `tests/nodes/fake_comfy.py` pretends? ``python signatures.py COMFYUI_DIR``."""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launch import stand_in_for_torchaudio


def main() -> None:
    """Print a JSON list of what is missing."""
    stand_in_for_torchaudio()
    sys.path[0], sys.argv = sys.argv[1], ["signatures.py"]
    from comfy.cli_args import args

    args.cpu = True
    sys.path.append(str(Path(__file__).parents[1] / "nodes"))
    from fake_comfy import Comfy, _modules
    from fake_models import Patcher

    found = list(_missing(_modules(Comfy(Path()))))
    from comfy.model_patcher import ModelPatcher

    found += [
        name
        for name in ("clone", "add_patches", "add_object_patch", "get_model_object")
        if not _takes(getattr(ModelPatcher, name), getattr(Patcher, name))
    ]
    print(json.dumps(found))


def _missing(fakes: dict[str, dict[str, Any]]) -> Iterator[str]:
    for module_name, members in fakes.items():
        module = __import__(module_name, fromlist=["_"])
        for name, fake in members.items():
            real = getattr(module, name, None)
            if real is None:
                yield f"{module_name}.{name}"
            elif not callable(fake) and hasattr(fake, "__dict__"):
                yield from (f"{name}.{one}" for one in vars(fake) if not hasattr(real, one))
            elif inspect.isfunction(fake) and inspect.isfunction(real) and not _takes(real, fake):
                yield f"{module_name}.{name}: {inspect.signature(real)}"


def _takes(real: Any, fake: Any) -> bool:
    """Whether every argument of the fake is one of the real function's."""
    wanted = [
        p
        for p in inspect.signature(fake).parameters.values()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    given = inspect.signature(real).parameters
    by_name = [p.name for p in wanted if p.kind == p.KEYWORD_ONLY]
    return all(name in given for name in by_name) and len(wanted) <= len(given)


if __name__ == "__main__":
    main()
