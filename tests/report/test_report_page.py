"""The report: one page that says everything, asks for nothing from outside, and believes no name."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_model import write_tiny_model
from tiny_project import project_of

from clora_ext.errors import ProjectError, UsageError
from clora_ext.project import Project
from clora_ext.project.concept_files import concept_files
from clora_ext.project.outcome import Drift, Estimate, HeldOutLoss, Kept, Likeness, Outcome
from clora_ext.report import write_report
from clora_ext.sampling.contact_sheet import Row, SheetMetadata, write_sheet
from clora_ext.training.curve import CurvePoint, write_curve

HOSTILE = '<img src="http://x.test/a">'
CONCEPTS = [("sks", "dog"), ('"><script>alert(1)</script>', HOSTILE)]
FAST: dict[str, Any] = {
    "remark": "back\u202ewards \ud800",
    "sampling": {"sample_steps": 1, "sample_count": 1, "sample_prompt": f"{HOSTILE} & {{{{ 7 * 7 }}}}"},
}


class Page(HTMLParser):
    """What a browser would see: tags, addresses, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "srcset", "action", "data", "xlink:href", "poster"}:
                self.addresses.append(value or "")
            if name == "style":
                pytest.fail("the page's own rule forbids styles of single elements")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    base = write_tiny_model(folder / "tiny.safetensors")
    made = project_of(folder / "model", base, CONCEPTS, settings=FAST)
    score = Likeness(Estimate(0.5, 0.1), Estimate(0.9, 0.1), 1.0, ())
    files = concept_files(made, 1, *CONCEPTS[0])
    rows = [Row(colour, [Image.new("RGB", (64, 64), colour)]) for colour in ("lime", "blue")]
    write_sheet(rows, 64, SheetMetadata(FAST["sampling"]["sample_prompt"]), files.sheet)
    Outcome(None, score, ()).write(files.outcome)
    write_curve([CurvePoint(step, 1 / step, 1e-3, 0.5) for step in range(1, 1201)], files.curve)
    loss = HeldOutLoss.of([1.0, 1.5], [0.9, 1.4], [1.0, 1.5])
    drift = Drift(6, Estimate(0.02, 0.01), Estimate(0.0412, 0.01), "demo")
    kept = (Kept(1, 0.25, 0.91, 0.63),)
    Outcome(loss, None, kept, drift, 0.1134).write(concept_files(made, 2, *CONCEPTS[1]).outcome)
    return made


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return write_report(project).read_text(encoding="utf-8")


def test_nothing_is_asked_for_from_outside(page: str) -> None:
    seen = Page(page)
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert len([one for one in seen.addresses if one.startswith("data:image/png;base64,")]) == 3
    assert all(one.startswith(("data:image/png;base64,", "#concept-")) for one in seen.addresses)
    assert "default-src 'none'" in page
    assert "url(" not in page


def test_every_concept_hash_and_number_stands_in_it(page: str, project: Path) -> None:
    text = " ".join(Page(page).words)
    opened = Project.open(project)
    assert opened.base is not None
    facts = [opened.base.sha256, opened.base.path or "", opened.base.family]
    for record in opened.concepts:
        facts += [record.content_hash, record.parent_hash, record.dataset_fingerprint]
        facts += [f"{record.token} {record.class_name}", record.strategy, record.created]
    facts += ["a private caption", "rank", "learning_rate", "0.80", "0.25 kept", "not shown"]
    facts += ["0.91", "0.63", "0.041", "0.113", "after 2", "(1.1500 before folding)"]
    facts += [
        "better by 0.0000",
        "600 s of training",
        "back\\u202ewards \\ud800",
        FAST["sampling"]["sample_prompt"],
    ]
    assert [fact for fact in map(str, facts) if fact not in text] == []


def test_names_and_captions_are_text_in_it(page: str) -> None:
    assert "<script" not in page
    assert "<img src=&#34;http" not in page.replace("&lt;", "&lt ")
    assert 'src="http' not in page
    assert "{{ 7 * 7 }}" in page  # nor are they read as a template
    assert "49" not in "".join(Page(page).words).split("sample_prompt")[1][:80]


def test_a_page_of_its_own_is_replaced_and_nothing_else(project: Path, page: str, tmp_path: Path) -> None:
    assert write_report(project).read_text(encoding="utf-8") == page
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    with pytest.raises(UsageError, match="no report"):
        write_report(project, mine)
    assert mine.read_text() == "<p>mine</p>"
    with pytest.raises(UsageError, match="folder"):
        write_report(project, tmp_path)
    empty = project_of(tmp_path / "empty", project.parent / "tiny.safetensors", [])
    with pytest.raises(ProjectError, match="nothing yet"):
        write_report(empty)
