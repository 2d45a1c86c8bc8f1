"""Which variant a base is, is said once: the project keeps it."""

import json
from dataclasses import replace

import pytest
from flow_families import Z_IMAGE, family_id
from small_runs import FLOW, another

from clora_ext import GenerateRequest, Project, Request, add_concept, generate, make_plan
from clora_ext.events import Event, SampleStep
from clora_ext.runs.suggested import suggested_settings

pytestmark = pytest.mark.parametrize("family", [Z_IMAGE], indirect=True, ids=family_id)


def test_a_project_keeps_what_was_said_of_its_base(asked: Request) -> None:
    assert suggested_settings(asked.project, asked.base).sampling.sample_steps != 8
    first = replace(asked, variant="turbo")
    add_concept(first)
    project = Project.open(asked.project)
    assert project.base is not None
    assert project.base.variant == "turbo"
    second = make_plan(another(asked, "cat_images")).context
    assert second.variant is not None
    assert (second.variant.variant.name, second.variant.source) == ("turbo", "the project")
    assert suggested_settings(asked.project).sampling.sample_steps == 8


@pytest.mark.long
def test_it_may_be_corrected_and_what_nobody_says_is_not_recorded(asked: Request) -> None:
    add_concept(replace(asked, settings=FLOW.with_values(steps=1, warmup_steps=0)))
    manifest = json.loads((asked.project / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["base"]["variant"] is None  # a name such as z_image_tiny says nothing
    more = replace(another(asked, "cat_images"), variant="turbo")
    add_concept(replace(more, settings=FLOW.with_values(steps=1, warmup_steps=0)))
    base = Project.open(asked.project).base
    assert base is not None
    assert base.variant == "turbo"


def test_a_distilled_model_is_drawn_with_in_the_steps_that_it_was_made_for(asked: Request) -> None:
    add_concept(replace(asked, variant="turbo", settings=FLOW.with_values(steps=1, warmup_steps=0)))
    events: list[Event] = []
    generate(asked.project, GenerateRequest("sks dog", count=1, size=16), sink=events.append)
    assert {one.total for one in events if isinstance(one, SampleStep)} == {8}
    draw = GenerateRequest("sks dog", count=1, size=16, steps=2)
    generate(asked.project, draw, sink=(again := list[Event]()).append)
    assert {one.total for one in again if isinstance(one, SampleStep)} == {2}
