"""Small real projects: safetensors files of a few bytes, committed as a run would."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from clora_ext.formats.header import encode_header, layout
from clora_ext.project import Base, ConceptRecord, Image, Manifest, Project, State

BASE = Base.of_checkpoint("sd1", "demo", None, sha256(b"base").hexdigest())
RECORD = ConceptRecord(
    1, "sks", "dog", (Image("a.png", "1" * 64, "a"),), "2" * 64, "mask", {}, "L0", {"rank": 4}, 1,
    BASE.sha256, "3" * 64, 0.5, 0.25, "001-sks-dog.png", "2026-01-31T12:00:00+00:00", "0.1.0",
)  # fmt: skip
EXAMPLE = Manifest(
    BASE, (RECORD,), (State(1, "3" * 64, "3" * 16 + ".safetensors", "3" * 16 + ".safetensors"),)
)


def weights(text: str) -> bytes:
    """A safetensors file whose one tensor spells ``text``."""
    data = text.encode()
    return encode_header(layout({"w": ("U8", (len(data),))}), {}) + data


def stage(project: Project, text: str, content_hash: str | None = None) -> tuple[ConceptRecord, State]:
    """Write the files of a new state as a run does; give what ``commit`` wants."""
    number = project.number + 1
    (project.checkpoints_dir / "new.safetensors").write_bytes(weights(f"checkpoint {text}"))
    (project.memory_dir / "new.safetensors").write_bytes(weights(f"memory {text}"))
    digest = content_hash or sha256(text.encode()).hexdigest()
    state = project.adopt(
        number,
        digest,
        checkpoint=project.checkpoints_dir / "new.safetensors",
        memory=project.memory_dir / "new.safetensors",
    )
    token = f"token{number}"
    sheet = project.new_sheet(number, token, "toy dog")
    sheet.write_bytes(b"a picture of " + text.encode())
    project.training_dir.mkdir(parents=True, exist_ok=True)
    (project.training_dir / "state.safetensors").write_bytes(weights("adapter"))
    return record(project, number, token, digest, sheet.name), state


def record(project: Project, number: int, token: str, digest: str, sheet: str | None) -> ConceptRecord:
    parent = project.current.content_hash if project.current else BASE.sha256
    return ConceptRecord(
        number=number,
        token=token,
        class_name="toy dog",
        images=(Image("1.png", sha256(b"1").hexdigest(), "a photo"),),
        dataset_fingerprint=sha256(b"data").hexdigest(),
        strategy="mask",
        strategy_options={},
        state_level="L0",
        settings={"rank": 4, "lr": 1e-3},
        seed=1,
        parent_hash=parent,
        content_hash=digest,
        first_loss=0.5,
        last_loss=0.25,
        sheet=sheet,
        created="2026-01-31T12:00:00+00:00",
        clora_version="0.1.0",
    )


def learn(folder: Path, text: str, keep: int = 1) -> State:
    with Project.writing(folder) as project:
        if project.manifest is None:
            project.start(BASE)
        entry, state = stage(project, text)
        project.commit(entry, state, keep=keep)
    return state


def learn_kept(folder: Path, text: str) -> str:
    """A concept whose change is kept; gives the change's file name."""
    with Project.writing(folder) as project:
        if project.manifest is None:
            project.start(BASE)
        entry, state = stage(project, text)
        file = project.deltas_dir / "new.safetensors"
        file.write_bytes(weights(f"change {text}"))
        name = project.adopt_delta(state.content_hash, file)
        project.commit(replace(entry, delta=name), state)
    return name


def files(folder: Path) -> dict[str, bytes]:
    """Every file of the project except the lock's."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {".lock", ".lock.json"}
    }


def taught(folder: Path, count: int, keep: int = 1) -> Path:
    """A project that has learned ``count`` concepts."""
    for number in range(1, count + 1):
        learn(folder, f"concept {number}", keep)
    return folder
