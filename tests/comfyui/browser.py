"""A real browser on ComfyUI's page."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from server import HERE


def ask_page(**job: Any) -> dict[str, Any]:
    """Run one job of ``page.cjs``."""
    environment = {**os.environ, "NODE_PATH": os.environ.get("PLAYWRIGHT_MODULES", "")}
    command = ["node", str(HERE / "page.cjs")]
    done = subprocess.run(
        command, input=json.dumps(job), capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def by_hand(url: str, target: Path, **job: Any) -> dict[str, Any]:
    """Use a template with mouse and keyboard alone."""
    return ask_page(url=url, shot=str(target), **job)


def shot_of(url: str, workflow: Any, target: Path, seconds: int = 0) -> dict[str, Any]:
    """Open a workflow, run it if given time, photograph the page."""
    return ask_page(url=url, open=workflow, shot=str(target), run=bool(seconds), seconds=seconds)
