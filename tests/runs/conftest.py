"""A request to teach a tiny real model, which every test here begins with."""

from pathlib import Path

import pytest
from flow_families import FLOW_FAMILIES, family_id
from flow_family import FlowFamily
from learned import Learned
from small_runs import FLOW, SETTINGS, Taught, pictures
from tiny_flow import FlowFiles, write_tiny_flow
from tiny_model import write_tiny_model

from clora_ext import Pictures, Request, add_concept, estimate, make_plan


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def request_(tiny: Path, tmp_path: Path) -> Request:
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=tiny, settings=SETTINGS)


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Teaches a first concept, or two, that other tests begin with, too."""
    return Learned(tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="session", params=FLOW_FAMILIES, ids=family_id)
def family(request: pytest.FixtureRequest) -> FlowFamily:
    """Each family of flow matching, one after another."""
    found: FlowFamily = request.param
    return found


@pytest.fixture(scope="session")
def stored(family: FlowFamily, tmp_path_factory: pytest.TempPathFactory) -> FlowFiles:
    """A tiny model of it as ComfyUI keeps it; not to be changed by a test."""
    return write_tiny_flow(tmp_path_factory.mktemp("flow") / "models", kind=family.name)


@pytest.fixture
def asked(stored: FlowFiles, tmp_path: Path) -> Request:
    """A request to teach it."""
    images = pictures(tmp_path / "dog_images")
    return Request(Pictures(images), tmp_path / "model", base=stored.transformer, settings=FLOW)


@pytest.fixture(scope="session")
def taught(stored: FlowFiles, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """It has been taught that; neither the project nor the pictures are to be changed by a test."""
    folder = tmp_path_factory.mktemp("taught")
    images = pictures(folder / "dog_images")
    request = Request(Pictures(images), folder / "model", base=stored.transformer, settings=FLOW)
    plan = make_plan(request)
    told = estimate(plan)
    return Taught(request, plan, told, add_concept(request))
