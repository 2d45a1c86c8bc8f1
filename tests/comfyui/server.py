"""A running ComfyUI with its own folders, asked through its HTTP interface."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

from websocket import create_connection

HERE = Path(__file__).parent
TREE = os.environ.get("COMFYUI_DIR", "")
TROUBLE = ("missing", "unexpected", "not loaded")
HARMLESS = (
    "logit_scale",  # with text_projection: ComfyUI makes both up where SD 1.5 has none
    "bundle_emb.",  # of a LoRA: ComfyUI reads it as an embedding alone, where the file lies among those
)

Prompt = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Comfy:
    """One server.

    Attributes:
        url: where it listens.
        base: its folders: models, input, output, custom_nodes.
        log: what it prints.
        started: bytes of the log when it began to listen; before, it tells of its own extras.
    """

    url: str
    base: Path
    log: Path
    started: int = 0

    def ask(self, path: str, body: Any = None) -> Any:
        """The JSON that a path answers; with a body it is posted."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, {"Content-Type": "application/json"})  # noqa: S310 - localhost
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310
                text = answer.read()
        except HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error
        return json.loads(text) if text else None

    def queue(self, prompt: Prompt) -> str:
        """Queue a prompt; its id."""
        return str(self.ask("/prompt", {"prompt": prompt})["prompt_id"])

    def wait(self, prompt_id: str, seconds: float = 900) -> dict[str, Any]:
        """The history of a prompt that has ended, however it ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            history: dict[str, Any] = self.ask(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id]["status"]["status_str"]:
                return dict(history[prompt_id])
            time.sleep(0.2)
        raise AssertionError(f"no end after {seconds} s; the log: {self.log.read_text()[-3000:]}")

    def run(self, prompt: Prompt) -> dict[str, Any]:
        """The outputs of a prompt by node; it must succeed."""
        history = self.wait(self.queue(prompt))
        assert history["status"]["status_str"] == "success", history["status"]["messages"]
        return dict(history["outputs"])

    def complaints(self, prompt: Prompt, seconds: float = 900) -> list[str]:
        """What its page would say is wrong while a prompt runs."""
        client, told = uuid4().hex, []
        address = f"{self.url.replace('http', 'ws')}/ws?clientId={client}"
        with closing(create_connection(address, timeout=seconds)) as page:
            self.ask("/prompt", {"prompt": prompt, "client_id": client})
            while True:
                message = page.recv()
                event = json.loads(message) if isinstance(message, str) else {"type": "preview"}
                if event["type"] == "execution_error":
                    told.append(str(event["data"]["exception_message"]))
                if event["type"] in {"execution_success", "execution_interrupted"} or told:
                    return told

    def pictures(self, outputs: Mapping[str, Any]) -> list[Path]:
        """The files of all pictures among a prompt's outputs."""
        found = [image for output in outputs.values() for image in output.get("images", [])]
        return [self.base / image["type"] / image["subfolder"] / image["filename"] for image in found]

    def trouble(self) -> list[str]:
        """Lines of the log which say that something did not load."""
        lines = self.log.read_bytes()[self.started :].decode("utf-8", "replace").splitlines()
        told = [line for line in lines if any(word in line.lower() for word in TROUBLE)]
        return [line for line in told if not any(word in line for word in HARMLESS)]


def pack_in(base: Path) -> None:
    """Put clora's nodes into a server's folders, as ``clora comfyui install`` does."""
    (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("clora")), "comfyui", "install", str(base)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def running(base: Path, *options: str) -> AbstractContextManager[Comfy]:
    """A server on the processor whose folders are below ``base``, stopped at the end."""
    return _serving(base, "--cpu", *options)


def running_on_gpu(base: Path, *options: str) -> AbstractContextManager[Comfy]:
    """The same, as ComfyUI itself places its models."""
    return _serving(base, *options)


@contextmanager
def _serving(base: Path, *options: str) -> Iterator[Comfy]:
    for folder in ("models/checkpoints", "models/loras", "input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    port, log = _free_port(), base / "comfyui.log"
    command = [
        sys.executable, str(HERE / "launch.py"), TREE, "--listen", "127.0.0.1", "--port", str(port),
        "--base-directory", str(base), "--database-url", "sqlite:///:memory:", "--disable-api-nodes",
        *options,
    ]  # fmt: skip
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        comfy = Comfy(f"http://127.0.0.1:{port}", base, log)
        try:
            _await(comfy, process)
            yield replace(comfy, started=log.stat().st_size)
        finally:
            process.terminate()
            process.wait(30)


def _await(comfy: Comfy, process: "subprocess.Popen[bytes]") -> None:
    """Until it answers."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        assert process.poll() is None, f"ComfyUI ended: {comfy.log.read_text()[-3000:]}"
        try:
            comfy.ask("/system_stats")
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"ComfyUI does not answer: {comfy.log.read_text()[-3000:]}")
