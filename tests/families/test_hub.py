"""Names on the Hugging Face hub: what is a name, and which of a repository's files are fetched.

The hub is a server on this machine that speaks as the real one does; huggingface_hub itself fetches from it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
from cases import check_each

from clora_ext.errors import CheckpointError
from clora_ext.families.hub import find_base

LISTINGS = Path(__file__).parent / "listings"
COMMIT = "a" * 40
CONFIGURATIONS = ("model_index.json", "scheduler/scheduler_config.json")
UNET, VAE, TEXT = "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"
TEXT_2 = "text_encoder_2/model"


def listing(name: str) -> list[str]:
    """The files of a repository."""
    return (LISTINGS / f"{name}.txt").read_text(encoding="utf-8").split()


REPOSITORIES = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "sd15",
    "stabilityai/stable-diffusion-xl-base-1.0": "sdxl",
    "someone/half.please-1.0": "sdxl",
    "someone/only.half": "fp16_only",
    "someone/old-model": "pickles",
    "someone/one.file": "one_file",
    "someone/z-image": "z_image",
    "someone/anima": "anima",
}
TOLD = {
    "z_image": {"model_index.json": '{"_class_name": "ZImagePipeline"}'},
    "anima": {"modular_model_index.json": '{"_class_name": "AnimaModularPipeline"}'},
}


def _tag(name: str) -> str:
    """What the hub knows a file's content by."""
    return sha256(name.encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as snapshot_download asks for; a file's content is its name, or what is told."""

    fetched: list[str] = []  # noqa: RUF012 - names of files after those of their repositories

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *words: object) -> None:
        """Quiet."""

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0]).removeprefix("/api/models")
        repository = "/".join(path.split("/")[1:3])
        listed = REPOSITORIES.get(repository, "")
        files = listing(listed) if listed else []
        told = TOLD.get(listed, {})
        if "/resolve/" not in path:
            tree = [{"type": "file", "path": n, "size": len(told.get(n, n)), "oid": _tag(n)} for n in files]
            whole = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            found = json.dumps(tree if "/tree/" in path else whole).encode()
            return self._send(found, {"Content-Type": "application/json"}, 200 if files else 404)
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if name not in files:
            return self._send(b"", {}, 404)
        if self.command == "GET":
            self.fetched.append(f"{repository} {name}")
        return self._send(told.get(name, name).encode(), {"ETag": f'"{_tag(name)}"', "X-Repo-Commit": COMMIT})

    def _send(self, body: bytes, headers: dict[str, str], code: int = 200) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def hub() -> Iterator[str]:
    """Its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


FIND = """
import json, sys
from pathlib import Path
from clora_ext.errors import CheckpointError
from clora_ext.families.hub import find_base

def find(name):
    try:
        return str(find_base(Path(name)))
    except CheckpointError as error:
        return f"refused: {error}"

print(json.dumps({name: find(name) for name in sys.argv[1:]}))
"""


def find(cache: Path, **environment: str) -> dict[str, str]:
    """What a process of its own finds by each name: huggingface_hub reads its environment when imported."""
    own = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HOME": str(cache / "home"), "NO_PROXY": "*"}
    command = [sys.executable, "-c", FIND, *FETCHED, *REFUSED, "someone/z-image", "someone/anima"]
    done = subprocess.run(command, env=own | environment, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@dataclass(frozen=True)
class Fetched:
    """What was found with a hub, and later without one; and what was fetched, as repository and file."""

    cache: Path
    online: dict[str, str]
    offline: dict[str, str]
    files: list[str]

    def of(self, repository: str) -> list[str]:
        return sorted(name.split()[1] for name in self.files if name.split()[0] == repository)


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    cache = tmp_path_factory.mktemp("cache")
    with hub() as address:
        online = find(cache, HF_ENDPOINT=address, HF_HUB_OFFLINE="0")
    return Fetched(cache, online, find(cache, HF_HUB_OFFLINE="1"), list(Hub.fetched))


def wanted(*weights: str) -> list[str]:
    """These weights and everything that describes them."""
    configurations = {f"{name.split('/')[0]}/config.json" for name in weights}
    return sorted([*CONFIGURATIONS, *configurations, *(f"{name}.safetensors" for name in weights)])


# Which weights are fetched for a name, and what then stands for the model in its folder.
FETCHED: dict[str, tuple[list[str], str]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ([UNET, VAE, TEXT], ""),
    "stabilityai/stable-diffusion-xl-base-1.0": ([UNET, VAE, TEXT, TEXT_2], ""),
    "someone/half.please-1.0:fp16": (
        [f"{one}.fp16" for one in (UNET, VAE, TEXT, TEXT_2)], f"{UNET}.fp16.safetensors"
    ),
    "someone/only.half": (
        [f"{UNET}.fp16", VAE, f"{TEXT}.fp16", f"{TEXT_2}.fp16"], f"{UNET}.fp16.safetensors"
    ),
}  # fmt: skip
REFUSED = {
    "someone/old-model": "holds no diffusion_pytorch_model.safetensors",
    "someone/one.file": "has no model_index.json",
    "someone/nothing-2.1": "does not give it",
}


@pytest.mark.long
def test_of_a_transformer_in_parts_all_of_them_are_fetched(fetched: Fetched) -> None:
    unread = ("README.md", "assets/", "tokenizer/", "t5_tokenizer/", "text_encoder/generation_config.json")

    def check(repository: str) -> None:
        name, listed = f"someone/{repository}", REPOSITORIES[f"someone/{repository}"]
        assert fetched.of(name) == [one for one in sorted(listing(listed)) if not one.startswith(unread)]
        folder = fetched.cache / f"models--someone--{repository}" / "snapshots" / COMMIT
        assert fetched.online[name] == fetched.offline[name] == str(folder)

    check_each(["z-image", "anima"], check)


def test_only_what_is_read_is_fetched_and_half_precision_only_where_it_must_be(fetched: Fetched) -> None:
    def check(name: str) -> None:
        weights, place = FETCHED[name]
        repository = name.partition(":")[0]
        folder = fetched.cache / "--".join(("models", *repository.split("/"))) / "snapshots" / COMMIT
        assert fetched.of(repository) == wanted(*weights)
        assert fetched.online[name] == str(folder / place)
        assert fetched.offline[name] == fetched.online[name]  # from the cache, once it is there

    check_each(FETCHED, check)


def test_what_cannot_be_used_says_why_and_no_pickle_is_fetched(fetched: Fetched) -> None:
    def check(name: str) -> None:
        assert fetched.online[name].startswith("refused: ")
        assert REFUSED[name] in fetched.online[name]
        assert not [file for file in fetched.of(name) if file.endswith((".bin", ".safetensors"))]

    check_each(REFUSED, check)


def test_what_ends_as_a_file_is_a_missing_file_and_no_name(tmp_path: Path) -> None:
    def check(name: str) -> None:
        with pytest.raises(CheckpointError, match="does not exist"):
            find_base(Path(name))

    check_each(
        ["models/a.safetensors", "models/A.CKPT", "models/a.gguf", "a/b/c", f"{tmp_path}/x", "x:y"], check
    )
