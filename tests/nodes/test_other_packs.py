"""clora beside another pack in one ComfyUI: neither takes over the other's modules, whichever comes first."""

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from cases import check_each

ROOT = Path(__file__).parents[2]
NAMES = ("cli", "comfyui_nodes", "examples", "tests")
"""What lies beside the engine in this repository, and may well be called the same in another's."""

FOREIGN = """
import os, sys
{change}
import {names}
assert all(module.OWNER == "other" for module in ({names},))
"""
CHANGES = ("sys.path.append(os.path.dirname(__file__))", "sys.path.insert(0, os.path.dirname(__file__))")

# As ComfyUI imports a pack: by its path, under a name made of it.
LOADER = """
import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

packs = [Path(path) for path in sys.argv[1:]]
for path in packs:
    spec = spec_from_file_location(str(path).replace(".", "_x_"), path / "__init__.py")
    sys.modules[spec.name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)

ours = next(path for path in packs if path.name == "clora")
for name in NAMES:
    assert "clora" not in Path(sys.modules[name].__file__).parts, name
pack = sys.modules[str(ours).replace(".", "_x_")]
assert Path(pack.WEB_DIRECTORY) == ours / "comfyui_nodes" / "web", pack.WEB_DIRECTORY
import clora_ext.errors
assert Path(clora_ext.errors.__file__) == ours / "clora_ext" / "errors.py"
assert find_spec("clora_ext.events") is not None
assert not [path for path in sys.path if Path(path) == ours]
""".replace("NAMES", repr(NAMES))


@pytest.fixture
def custom_nodes(tmp_path: Path) -> Path:
    """A clone of this repository in ComfyUI's folder of packs."""
    (tmp_path / "clora").mkdir()
    shutil.copy(ROOT / "__init__.py", tmp_path / "clora")
    for name in ("clora_ext", *NAMES):
        (tmp_path / "clora" / name).mkdir()
    for file in ROOT.glob("comfyui_nodes/**/*.py"):
        target = tmp_path / "clora" / file.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file, target)
    for file in ("__init__.py", "errors.py", "events.py"):
        shutil.copy(ROOT / "clora_ext" / file, tmp_path / "clora" / "clora_ext")
    for name in ("cli", "examples", "tests"):
        (tmp_path / "clora" / name / "__init__.py").write_text("", encoding="utf-8")
    return tmp_path


def test_neither_pack_takes_over_the_others_modules(custom_nodes: Path) -> None:
    other = custom_nodes / "other"
    for name in NAMES:
        (other / name).mkdir(parents=True)
        (other / name / "__init__.py").write_text("OWNER = 'other'\n", encoding="utf-8")

    def check(case: tuple[tuple[str, str], str]) -> None:
        order, change = case
        text = FOREIGN.format(change=change, names=", ".join(NAMES))
        (other / "__init__.py").write_text(text, encoding="utf-8")
        paths = [str(custom_nodes / name) for name in order]
        command = [sys.executable, "-I", "-S", "-c", LOADER, *paths]  # without what pip has installed
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    check_each(list(product((("clora", "other"), ("other", "clora")), CHANGES)), check)
