"""How often a run reads a model: once over SDXL's is 7 GB."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest
from small_runs import another, with_settings

from clora_ext import Project, Request, add_concept
from clora_ext.errors import CheckpointError
from clora_ext.events import Event, Stage
from clora_ext.formats import hash_cache, spans
from clora_ext.formats.checkpoint import Checkpoint


class Passes:
    """What was read of the files' tensors; hashing a whole file is counted apart."""

    def __init__(self) -> None:
        self.read = Counter[Path]()
        self.hashed = Counter[Path]()

    def of(self, file: Path) -> float:
        """As a share of what the file holds."""
        return self.read[file] / sum(info.bytes for info in Checkpoint(file).header.tensors.values())


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    """Count while it is entered; what the system copies from file to file is not read."""
    found, lock = Passes(), Lock()
    read, whole = spans._read, hash_cache.file_sha256

    def counting(path: Path, file: spans.FileIO, buffer: memoryview) -> int:
        count = read(path, file, buffer)
        with lock:
            found.read[path] += count
        return count

    def hashing(path: Path) -> str:
        found.hashed[path] += 1
        return whole(path)

    with monkeypatch.context() as patch:
        patch.setattr(spans, "_read", counting)
        patch.setattr(hash_cache, "file_sha256", hashing)
        yield found


@pytest.mark.parametrize("strategy", ["merge", "distill"])
def test_a_model_is_read_to_train_to_fold_and_to_verify(
    request_: Request, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    base = Path(shutil.copy(tiny, tmp_path))
    os.utime(base, (1e9, 1e9))  # else it might still be written
    first = with_settings(
        replace(request_, base=base), strategy=strategy, sample_steps=1, sample_count=1, steps=2
    )
    with counted(monkeypatch) as passes:
        one = add_concept(first).checkpoint
    assert passes.hashed == {base: 1}
    # distill reads the tables of tokens once more, of which it teaches a row.
    assert passes.of(base) == pytest.approx(2, abs=0.0 if strategy == "merge" else 0.15)
    assert passes.of(one) == 1
    with counted(monkeypatch) as passes:
        two = add_concept(another(first, "cat_images")).checkpoint
    assert passes.hashed == {}
    assert passes.of(base) < 0.2  # the layers that are taught, of which the strategy is shown the base
    assert 1 < passes.of(one) < 1.4  # to train; what is not taught is folded as bytes
    assert passes.of(two) == 1


def test_a_checkpoint_that_the_disk_has_changed_is_not_taken(request_: Request, tmp_path: Path) -> None:
    def spoiling(place: int) -> Callable[[Event], None]:
        def sink(event: Event) -> None:
            if isinstance(event, Stage) and event.name == "verify":
                (written,) = (tmp_path / "model" / "checkpoints").glob("*.safetensors")
                with written.open("r+b") as file:
                    file.seek(-place, 2)
                    file.write(b"\xff\x7f")  # NaN in float16

        return sink

    for place in (2, 3):  # a value that no model may have, and another one
        with pytest.raises(CheckpointError, match="does not hold what was written"):
            add_concept(request_, spoiling(place))
        assert not Project.open(request_.project).concepts
