"""The training file that README shows is the example, and clora takes every key of it."""

from pathlib import Path

from clora_ext.kohya.asked import asked_by
from clora_ext.kohya.check import check
from clora_ext.kohya.finding import errors, notes

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dog.toml"


def test_the_readme_shows_the_example() -> None:
    shown = (ROOT / "README.md").read_text(encoding="utf-8").split("```toml\n", 1)[1].split("```", 1)[0]
    written = EXAMPLE.read_text(encoding="utf-8")
    assert shown == "".join(line for line in written.splitlines(keepends=True) if not line.startswith("#"))


def test_the_example_is_taken_as_it_stands() -> None:
    checked = check([EXAMPLE])
    assert not errors(checked.findings)
    assert not notes(checked.findings)
    found = asked_by(checked)
    assert found.folder == ROOT / "examples" / "dog_images"
    assert (found.settings["rank"], found.settings["steps"], found.settings["text_encoder"]) == (
        8,
        200,
        False,
    )
    assert found.subsets[0].augmentation.flip_aug
