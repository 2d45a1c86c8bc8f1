"""Whoever watches a run may go away: that is told as what it is, never as a fault of the disk."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cases import check_each, empty_folder
from small_runs import with_settings

from clora_ext import Request, add_concept, export_checkpoint, export_lora, export_to
from clora_ext.events import Event, FoldStep, Preview, Sampled, SampleStep, Sink, Stage

KINDS = (Stage, Preview, SampleStep, FoldStep, Sampled)


def broken_at(kind: type[Event]) -> Sink:
    """A sink whose pipe is broken when such an event comes."""

    def sink(event: Event) -> None:
        if isinstance(event, kind):
            raise BrokenPipeError(32, "Broken pipe")

    return sink


@pytest.mark.long
def test_a_run_that_nobody_watches_any_more_blames_no_file(request_: Request) -> None:
    watched = with_settings(request_, preview_every=6)

    def check(kind: type[Event]) -> None:
        with pytest.raises(BrokenPipeError):
            add_concept(watched, broken_at(kind))

    check_each(KINDS, check)
    assert add_concept(watched).number == 1


def test_an_export_that_nobody_watches_any_more_blames_no_file(request_: Request, tmp_path: Path) -> None:
    project = add_concept(request_).project
    exports: dict[str, Callable[[Path, Sink], object]] = {
        "checkpoint": lambda folder, sink: export_checkpoint(project, folder / "a.safetensors", sink=sink),
        "lora": lambda folder, sink: export_lora(project, folder / "a.safetensors", sink=sink),
        "diffusers": lambda folder, sink: export_to(project, "diffusers", folder / "a", sink=sink),
    }

    def check(name: str) -> None:
        folder = empty_folder(tmp_path)
        with pytest.raises(BrokenPipeError):
            exports[name](folder, broken_at(Stage if name == "diffusers" else FoldStep))
        assert not list(folder.iterdir())

    check_each(exports, check)
