"""The report in a real browser: complete, on a phone and in the dark, without a single request."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from server import HERE
from taught import Taught

from clora_ext.report import write_report

pytestmark = pytest.mark.comfyui


def test_the_report_is_whole_on_any_screen(taught: Taught, tmp_path: Path) -> None:
    page = write_report(taught.project, tmp_path / "report.html")
    shots = {
        name: {"width": width, "dark": dark, "target": str(tmp_path / f"{name}.png")}
        for name, width, dark in (("desk", 1200, False), ("phone", 360, True))
    }
    environment = {**os.environ, "NODE_PATH": os.environ.get("PLAYWRIGHT_MODULES", "")}
    command = ["node", str(HERE / "report.cjs")]
    done = subprocess.run(
        command,
        input=json.dumps({"file": str(page), "shots": shots}),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found["requests"]) == {f"file://{page}"}
    assert found["complaints"] == []
    assert found["wider"] == {"desk": 0, "phone": 0}
    assert found["empty"] == 0
    assert found["cut"] == []
    assert found["paper"]["desk"] != found["paper"]["phone"]
