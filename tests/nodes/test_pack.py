"""The pack as a whole: what ComfyUI shows of it fits what it is, and importing it needs no ComfyUI."""

import json
import re
import runpy
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

from cases import check_each
from pathspec import PathSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted(file.stem for file in (ROOT / "example_workflows").glob("*.json"))


def test_importing_it_needs_no_comfyui_and_no_torch(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('pack', r'{ROOT / '__init__.py'}')\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['pack'] = module\n"
        "spec.loader.exec_module(module)\n"
        "assert callable(module.comfy_entrypoint)\n"
        "assert not {'torch', 'comfy', 'folder_paths'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_a_clone_brings_its_engine_along(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        "sys.path = [path for path in sys.path if 'site-packages' not in path]\n"
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in getattr(f, '__module__', '')]\n"
        f"spec = importlib.util.spec_from_file_location('pack', r'{ROOT / '__init__.py'}')\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['pack'] = module\n"
        "spec.loader.exec_module(module)\n"
        "import clora_ext\n"
        f"assert clora_ext.__file__ == r'{ROOT / 'clora_ext' / '__init__.py'}', clora_ext.__file__\n"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=tmp_path)


def test_every_node_has_a_help_page_with_its_inputs_and_outputs(pack: Any) -> None:
    folder = ROOT / "comfyui_nodes" / "web" / "docs"
    ids = {node.define_schema().node_id for node in pack.nodes.values()}
    assert {page.stem for page in folder.glob("*.md")} == ids
    for node in pack.nodes.values():
        schema = node.define_schema()
        page = (folder / f"{schema.node_id}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {schema.display_name}\n")
        for socket in [*schema.inputs, *schema.outputs]:
            assert f"| `{socket.id}` | {socket.options['tooltip']} |" in page


def as_shown(text: str) -> str:
    """A text as ComfyUI's page shows it: braces, @ and | mean something there, but not in {'...'}."""
    literal = r"\{'([^']*)'\}"
    assert not re.search(r"[{}@|]", re.sub(literal, "", text)), text
    return re.sub(literal, r"\1", text)


def test_the_english_texts_are_those_of_the_nodes(pack: Any) -> None:
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert set(texts) == {node.define_schema().node_id for node in pack.nodes.values()}
    for node in pack.nodes.values():
        schema, own = node.define_schema(), texts[node.define_schema().node_id]
        assert (own["display_name"], own["description"]) == (schema.display_name, schema.description)
        tips = {socket.id: socket.options["tooltip"] for socket in schema.inputs}
        assert {name: as_shown(text["tooltip"]) for name, text in own["inputs"].items()} == tips
        assert [text["name"] for text in own["inputs"].values()] == [name.replace("_", " ") for name in tips]
        names = [socket.options["display_name"] for socket in schema.outputs]
        assert [own["outputs"][str(place)]["name"] for place in range(len(names))] == names


def test_every_example_uses_the_nodes_as_they_are(pack: Any) -> None:
    schemas = {node.define_schema().node_id: node.define_schema() for node in pack.nodes.values()}

    def check(name: str) -> None:
        text = (ROOT / "example_workflows" / f"{name}.json").read_text(encoding="utf-8")
        ours = [node for node in json.loads(text)["nodes"] if node["type"].startswith("Clora")]
        assert ours
        for node in ours:
            schema = schemas[node["type"]]
            assert {one["name"] for one in node["inputs"]} <= {socket.id for socket in schema.inputs}
            assert [one["type"] for one in node["outputs"]] == [socket.kind for socket in schema.outputs]
        assert (ROOT / "example_workflows" / f"{name}.jpg").stat().st_size < 200_000
        assert str(ROOT) not in text

    check_each(WORKFLOWS, check)


def test_every_example_opens_beside_the_pages_bars_with_no_node_on_another() -> None:
    side, top, title = 90, 80, 30  # pixels of the page, pixels of the page, height of a node's title

    def check(name: str) -> None:
        text = (ROOT / "example_workflows" / f"{name}.json").read_text(encoding="utf-8")
        workflow = json.loads(text)
        view, nodes = workflow["extra"]["ds"], workflow["nodes"]
        left = min(node["pos"][0] for node in nodes)
        upper = min(node["pos"][1] for node in nodes) - title
        assert (left + view["offset"][0]) * view["scale"] >= side
        assert (upper + view["offset"][1]) * view["scale"] >= top
        for one, other in combinations(nodes, 2):
            beside = any(_apart(one, other, axis, (0, title)[axis]) for axis in (0, 1))
            assert beside, (one["type"], other["type"])

    check_each(WORKFLOWS, check)


def _apart(one: Any, other: Any, axis: int, room: int) -> bool:
    """Whether one node ends before the other begins, ``room`` before its place, along an axis."""
    ends = [node["pos"][axis] + node["size"][axis] for node in (one, other)]
    begins = [node["pos"][axis] - room for node in (one, other)]
    return bool(ends[0] <= begins[1] or ends[1] <= begins[0])


def test_what_the_registry_gets_is_a_sound_pack(tmp_path: Path) -> None:
    ignored = [ROOT / name for name in (".gitignore", ".comfyignore")]
    lines = [line for file in ignored for line in file.read_text(encoding="utf-8").splitlines()]
    pack = tmp_path / "clora"
    for name in PathSpec.from_lines("gitignore", [*lines, ".git"]).match_tree_files(ROOT, negate=True):
        (pack / name).parent.mkdir(parents=True, exist_ok=True)
        (pack / name).symlink_to(ROOT / name)
    there = {file.name for file in pack.iterdir()}
    assert {"__init__.py", "requirements.txt", "comfyui_nodes", "clora_ext"} <= there
    assert "tests" not in there
    command = [sys.executable, "-m", "comfy_test", "lint", "--strict", str(pack)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "[SYNTAX] PASSED" in done.stdout


def test_the_packs_requirements_are_the_engines_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    assert listed == {re.sub(r",<.*", "", dependency) for dependency in project["dependencies"]}


def test_the_folder_s_name_need_not_be_a_module_s() -> None:
    """As of GitHub's zip, clora-main: pytest imports the root's file as no package there."""
    assert "comfy_entrypoint" not in runpy.run_path(str(ROOT / "__init__.py"))
