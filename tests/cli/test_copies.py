"""`clora copy` and `clora comfyui install`, through the command."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from calling import call
from tiny_model import write_tiny_model
from tiny_project import project_of


def test_copy_says_what_was_copied(tmp_path: Path) -> None:
    source = project_of(tmp_path / "model", write_tiny_model(tmp_path / "tiny.safetensors"), [("sks", "dog")])
    done = call("copy", "--project", source, tmp_path / "copy", "--json")
    assert done.code == 0
    assert done.json[-1]["result"]["concepts"] == 1
    assert call("copy", "--project", source, tmp_path / "copy").code == 1


def test_the_nodes_are_installed_and_renewed(tmp_path: Path) -> None:
    (tmp_path / "custom_nodes").mkdir()
    for _ in range(2):
        assert call("comfyui", "install", tmp_path).code == 0
    pack = tmp_path / "custom_nodes" / "clora"
    assert len(list((pack / "example_workflows").glob("*.json"))) == 4
    assert (pack / "locales" / "en" / "nodeDefs.json").is_file()
    spec = spec_from_file_location("shim_of_clora", pack / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (Path(module.WEB_DIRECTORY) / "docs" / "CloraAddConcept.md").is_file()
    assert "comfy" not in sys.modules


def test_another_folder_or_pack_is_left_alone(tmp_path: Path) -> None:
    done = call("comfyui", "install", tmp_path)
    assert done.code == 2
    assert "custom_nodes" in done.err
    (tmp_path / "custom_nodes" / "clora").mkdir(parents=True)
    (tmp_path / "custom_nodes" / "clora" / "__init__.py").write_text("# mine")
    assert call("comfyui", "install", tmp_path).code == 2
    assert (tmp_path / "custom_nodes" / "clora" / "__init__.py").read_text() == "# mine"
