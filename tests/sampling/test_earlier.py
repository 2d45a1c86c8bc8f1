"""What is left of an earlier concept: by drawings on its contact sheet, by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny_model import write_tiny_model
from tiny_project import project_of
from torch import Tensor

from clora_ext.project import Project
from clora_ext.project.concept_files import concept_files
from clora_ext.project.outcome import Estimate, Likeness, Outcome, Question
from clora_ext.sampling.contact_sheet import Row, SheetMetadata, write_sheet
from clora_ext.sampling.earlier import ByDrawings, ByPictures, kept, yardstick

UNUSED = None  # no drawing is asked of a model where the sheet decides


class Colours:
    """Mean colour as a vector: likeness can be worked out by hand."""

    name, digest = "colours", 64 * "c"

    def images(self, pictures: Sequence[Image.Image]) -> Tensor:
        means = [one.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)) for one in pictures]
        return torch.nn.functional.normalize(torch.tensor(means, dtype=torch.float32), dim=1)


def plain(*colours: str) -> list[Image.Image]:
    return [Image.new("RGB", (64, 64), colour) for colour in colours]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("earlier")
    base = write_tiny_model(folder / "tiny.safetensors")
    return Project.open(project_of(folder / "model", base, [("sks", "dog"), ("zwz", "cat")]))


def with_sheet(project: Project, before: Sequence[str], after: Sequence[str]) -> None:
    rows = [Row("before", plain(*before)), Row("after", plain(*after))]
    write_sheet(rows, 64, SheetMetadata("sks dog"), concept_files(project.folder, 1, "sks", "dog").sheet)


def test_as_when_it_was_learned_is_all_and_as_before_is_nothing(project: Project) -> None:
    with_sheet(project, ["lime", "lime"], ["red", "red"])
    by = yardstick(project, project.concepts[0], Colours(), most=4)
    assert isinstance(by, ByDrawings)
    assert (by.before, by.learned, by.is_sure, by.drawings) == (0.0, 1.0, True, 2)
    shares = {}
    for colours in (("red", "red"), ("lime", "lime"), ("red", "lime"), ("yellow", "yellow")):
        found = kept(1, by, UNUSED, plain(*colours), "colours")  # type: ignore[arg-type]
        assert found is not None
        shares[colours] = found.share
        assert (found.number, found.learned, found.now, found.scorer) == (1, 1.0, found.share, "colours")
    assert shares["red", "red"] == pytest.approx(1)
    assert shares["lime", "lime"] == pytest.approx(0, abs=1e-6)
    assert shares["red", "lime"] == pytest.approx(0.5)
    assert shares["yellow", "yellow"] == pytest.approx(0.5**0.5)


def test_a_drawing_is_not_compared_with_the_one_of_its_own_noise(project: Project) -> None:
    with_sheet(project, ["lime", "lime"], ["red", "blue"])
    by = yardstick(project, project.concepts[0], Colours(), most=4)
    assert by is not None
    assert by.learned == pytest.approx(0)  # red and blue have nothing in common
    assert by.now(UNUSED, plain("blue", "red")) == pytest.approx(1)  # type: ignore[arg-type]
    one = yardstick(project, project.concepts[0], Colours(), most=1)  # a single one is, there is no other
    assert one is not None
    assert (one.learned, one.drawings) == (1.0, 1)


def test_where_the_scorer_saw_no_difference_nothing_is_told(project: Project) -> None:
    for before, after in ((["red", "red"], ["red", "red"]), (["lime", "red", "red"], ["red", "lime", "red"])):
        with_sheet(project, before, after)
        by = yardstick(project, project.concepts[0], Colours(), most=4)
        assert by is not None
        assert not by.is_sure
        assert kept(1, by, UNUSED, plain("red"), "colours") is None  # type: ignore[arg-type]
    concept_files(project.folder, 1, "sks", "dog").sheet.write_bytes(b"damaged")
    assert yardstick(project, project.concepts[0], Colours(), most=4) is None


def test_only_the_demo_models_scorer_goes_by_what_is_kept_of_the_pictures(project: Project) -> None:
    record = project.concepts[1]
    then = Likeness(Estimate(0.5, 0.01), Estimate(0.9, 0.01), 1.0, (Question("zwz cat", (1.0, 0.0, 0.0)),))
    Outcome(None, then, ()).write(concept_files(project.folder, 2, "zwz", "cat").outcome)
    assert isinstance(yardstick(project, record, Colours(), most=4), ByDrawings)
    demo = Colours()
    demo.name = "demo"  # type: ignore[misc]
    by = yardstick(project, record, demo, most=4)
    assert isinstance(by, ByPictures)
    assert (by.before, by.learned, by.is_sure) == (0.5, 0.9, True)

    class Red:
        def sample(self, prompt: str, *, seeds: range, **_: object) -> list[Image.Image]:
            return plain(*["red" for _ in seeds])

    found = kept(2, by, Red(), plain("lime"), "demo")  # type: ignore[arg-type]  # as much of a model as is asked
    assert found is not None
    assert (found.now, found.share) == (pytest.approx(1.0), pytest.approx(1.25))
    unsure = ByPictures(demo, replace(then, after=Estimate(0.52, 0.01)))
    assert kept(2, unsure, Red(), plain("lime"), "demo") is None  # type: ignore[arg-type]
