"""Real projects on disk that took no training: records, a tiny real checkpoint, memory and contact sheets."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pictures

from clora_ext.formats.checkpoint import Checkpoint, Source, content_hash, write_checkpoint
from clora_ext.project import Base, ConceptRecord, Image, State
from clora_ext.project.manifest import MANIFEST, Manifest
from clora_ext.project.records import sheet_name
from clora_ext.sampling.contact_sheet import Row, contact_sheet

BEFORE = "lime"
"""Colours of the training pictures and of what was drawn before, on every sheet."""
COLOURS = ("blue", "orange", "purple", "teal")
"""Colours of what was drawn after, concept by concept."""


def project_of(
    folder: Path,
    base: Path,
    concepts: Sequence[tuple[str, str]],
    *,
    memory: Mapping[str, torch.Tensor] | None = None,
    sheets: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """A project that has learned (token, class) after (token, class); its checkpoint is a copy of ``base``.

    ``memory``: float32 weights of taught layers by the checkpoint's names.
    """
    for name in ("checkpoints", "memory", "sheets"):
        (folder / name).mkdir(parents=True)
    digest = content_hash(Checkpoint(base))
    origin = Base.of_checkpoint("sd1", "file", str(base.resolve()), sha256(base.read_bytes()).hexdigest())
    records = []
    for number, (token, noun) in enumerate(concepts, start=1):
        sheet = sheet_name(number, token, noun) if sheets else None
        if sheet:
            write_sheet(folder / "sheets" / sheet, COLOURS[(number - 1) % len(COLOURS)])
        parent = origin.sha256 if number == 1 else records[-1].content_hash
        content = digest if number == len(concepts) else sha256(f"{number}".encode()).hexdigest()
        records.append(record(number, token, noun, parent, content, sheet, settings or {}))
    states = []
    if records:
        file = f"{digest[:16]}.safetensors"
        (folder / "checkpoints" / file).write_bytes(base.read_bytes())
        weights = {f"{name}::weight": Source.of(tensor) for name, tensor in (memory or {}).items()}
        write_checkpoint(folder / "memory" / file, weights, {"clora.strategy": "mask"})
        states.append(State(len(records), digest, file, file))
    text = Manifest(origin, tuple(records), tuple(states)).encode()
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return folder


def record(
    number: int,
    token: str,
    noun: str,
    parent: str,
    content: str,
    sheet: str | None,
    settings: Mapping[str, Any],
) -> ConceptRecord:
    return ConceptRecord(
        number=number,
        token=token,
        class_name=noun,
        images=(Image("private name.png", sha256(b"1").hexdigest(), "a private caption"),),
        dataset_fingerprint=sha256(b"data").hexdigest(),
        strategy="mask",
        strategy_options={},
        state_level="L0",
        settings={"rank": 4, "steps": 200, "learning_rate": 1e-3, **settings},
        seed=1,
        parent_hash=parent,
        content_hash=content,
        first_loss=0.5,
        last_loss=0.25,
        sheet=sheet,
        created=f"2026-01-{number % 28 + 1:02d}T12:00:00+00:00",
        clora_version="0.1.0",
    )


def write_sheet(file: Path, colour: str) -> None:
    """A sheet as a run writes it, in plain colours."""
    rows = [Row(colour, [Pictures.new("RGB", (64, 64), colour)] * 4) for colour in (BEFORE, colour)]
    contact_sheet(rows, 64).save(file)
