"""Teach the built-in model a dog from Python, and draw it."""

from pathlib import Path

from clora_ext import GenerateRequest, Pictures, Project, Request, Settings, add_concept, generate, make_plan
from clora_ext.events import Event, TrainStep

HERE = Path(__file__).parent


def show(event: Event) -> None:
    """Say how the training goes."""
    if isinstance(event, TrainStep) and event.step % 20 == 0:
        print(f"step {event.step}/{event.total}: loss {event.loss:.3f}")


def main(project: Path = Path("clora-model")) -> None:
    """Plan, teach, look."""
    request = Request(Pictures(HERE / "dog_images"), project, settings=Settings.of(seed=1, steps=300))
    plan = make_plan(request)
    dataset = plan.dataset
    print(f"{len(dataset.pictures)} pictures of {plan.concept.trigger!r}, {plan.parameters:,} parameters")
    result = add_concept(request, show)
    print(f"{result.checkpoint}: loss {result.first_loss:.3f} -> {result.last_loss:.3f}")
    print([concept.token for concept in Project.open(project).concepts])
    for picture in generate(project, GenerateRequest(f"{plan.concept.trigger}, blue background", count=2)):
        print(picture)


if __name__ == "__main__":
    main()
