"""ComfyUI's own loaders and modules on a Flux.2 klein that clora reads, and on a LoRA that it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import launch  # noqa: F401 - before anything imports diffusers
import pytest
import torch
from lora_sites import random_factors
from server import HERE
from tiny_flow import write_tiny_flow

from clora_ext import families
from clora_ext.formats.lora.metadata import Details
from clora_ext.formats.lora.writer import write_lora
from clora_ext.formats.models import model_header

pytestmark = pytest.mark.comfyui

FAMILY = families.load("flux2_klein_4b")


def test_its_modules_give_our_numbers_and_its_loader_our_loras(tree: Path, tmp_path: Path) -> None:
    files = write_tiny_flow(tmp_path, dtype=torch.float32, kind="flux2_klein_sized")
    header, lora = model_header(files.transformer), tmp_path / "all.safetensors"
    sites = [target.site for target in FAMILY.targets(header, "transformer", text_encoders=False)]
    write_lora(lora, random_factors(sites, rank=2, alpha=3.0), FAMILY.name, Details("all"), dtype="F32")
    command = [sys.executable, str(HERE / "klein_parity.py"), str(tree)]
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE.parent)])
    done = subprocess.run(
        [*command, str(files.transformer), str(files.vae), str(lora)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert (found["kind"], found["lines"]) == ("Flux2", [])
    assert found["transformer"] < 5e-5
    assert max(found["vae"].values()) < 1e-4
    assert found["lora"].pop("worst") < 1e-6
    assert found["lora"] == {"weights": 2 * 8 + 2 * 2, "patched": 2 * 8 + 2 * 2}
