# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
"""What people read of what was learned: a tick only where the numbers bear it out."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from calling import call
from cases import check_each
from clora_ext.cli.kept import show_kept
from clora_ext.cli.learned import learned_facts, verdict
from clora_ext.cli.output import Output
from rich.console import Console
from tiny_project import record
from tiny_scorers import write_dinov2
from whole_runs import FAST, Taught, pictures

from clora_ext.project import ConceptRecord, Project
from clora_ext.project.outcome import Drift, Estimate, HeldOutLoss, Kept, Likeness, Outcome
from clora_ext.runs.result import Result
from clora_ext.training import held_out

BETTER = HeldOutLoss.of([0.2, 0.3, 0.4], [0.1, 0.2, 0.3], [0.15, 0.25, 0.34])
SAME = HeldOutLoss.of([0.2, 0.3, 0.4], [0.2, 0.3, 0.4], [0.3, 0.2, 0.4])
SCORE = Likeness(Estimate(0.5, 0.1), Estimate(0.95, 0.1), 1.0, ())
LOW = replace(SCORE, after=Estimate(0.6, 0.1))


def told(outcome: Outcome | None) -> str:
    made = Result(Path("p"), Path("c"), 64 * "a", 3, "sks dog", Path("s"), None, None, outcome, 65.0)
    console = Console(
        file=io.StringIO(), width=200, force_terminal=True, color_system="standard", no_color=False
    )
    console.print(verdict(made, "learned", console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


GREEN, YELLOW = "\x1b[32m", "\x1b[1;33m"
CASES: list[tuple[Outcome | None, str, str]] = [
    (None, GREEN, "concept 3 is learned"),
    (Outcome(None, None, ()), GREEN, "concept 3 is learned"),
    (Outcome(BETTER, SCORE, ()), GREEN, "concept 3 is learned, 0.90 of the way"),
    (Outcome(BETTER, LOW, ()), YELLOW, "in the model, but learned in part: 0.20 of the way"),
    (Outcome(BETTER, None, ()), GREEN, "learned, loss 0.3000 to 0.2467 on noise not trained with"),
    (Outcome(BETTER, replace(LOW, scorer="dinov2"), ()), GREEN, "learned, loss 0.3000 to 0.2467"),
    (Outcome(SAME, None, ()), YELLOW, "nothing shows that it was learned: loss 0.3000 to 0.3000"),
]


def test_a_tick_stands_only_where_the_numbers_bear_it_out() -> None:
    def check(case: tuple[Outcome | None, str, str]) -> None:
        outcome, colour, words = case
        text = told(outcome)
        assert words in text
        assert (GREEN in text, YELLOW in text) == (colour == GREEN, colour == YELLOW)
        assert ("--steps" in text) == (colour == YELLOW)

    check_each(CASES, check)


def test_every_number_is_told() -> None:
    drift = Drift(6, Estimate(0.02, 0.01), Estimate(0.041, 0.012), "demo")
    outcome = Outcome(BETTER, SCORE, (Kept(1, 0.91), Kept(2, 0.4)), drift, 0.1134)
    made = Result(Path("p"), Path("c"), 64 * "a", 3, "sks dog", Path("s"), None, None, outcome, 65.0)
    facts = learned_facts(made)
    assert facts["loss"] == (
        "0.3000 to 0.2467 on noise not trained with (0.2000 before folding), better by 0.0533 +- 0.0033"
    )
    assert str(facts["drift"]).startswith("0.041 +- 0.012 from the base")
    assert str(facts["overlap"]).startswith("0.113 with earlier changes")
    by_pixels = replace(outcome, drift=replace(drift, distance=None, scorer=""))
    assert str(learned_facts(replace(made, outcome=by_pixels))["drift"]).startswith("2.0 % of the pixels'")
    assert str(facts["learned"]).startswith("0.90 ")
    assert learned_facts(replace(made, outcome=None)) == {}


def records(*names: str) -> list[ConceptRecord]:
    numbered = enumerate(names, start=1)
    return [record(n, *name.split(" ", 1), 64 * "a", 64 * "b", None, {}) for n, name in numbered]  # type: ignore[arg-type]


def shown(outcome: Outcome | None, *names: str, width: int = 80) -> list[str]:
    output = Output(as_json=False)
    output.answers = Console(file=io.StringIO(), width=width)
    show_kept(records(*names), outcome, output)
    assert isinstance(output.answers.file, io.StringIO)
    return [line.rstrip() for line in output.answers.file.getvalue().splitlines()]


def test_every_concept_has_its_line() -> None:
    kept = (Kept(1, 0.914, 0.93, 0.9), Kept(2, 0.4, 0.84, 0.66))
    outcome = Outcome(BETTER, replace(SCORE, after=Estimate(0.951, 0.1)), kept)
    names = ("sks dog", "zwz pastel style", "pdw lamp", "uwu robot toy")

    def check(width: int) -> None:
        lines = shown(outcome, *names, width=width)
        assert all(len(line) <= width for line in lines)
        legend = [line.startswith("then:") for line in lines].index(True)
        rows = [line.split() for line in lines[:legend] if line[:1].isdigit()]
        assert rows == [
            ["1", "sks", "dog", "0.93", "0.90", "0.91"],
            ["2", "zwz", "pastel", "style", "0.84", "0.66", "0.40"],
            ["3", "pdw", "lamp", "-"],
            ["4", "uwu", "robot", "toy", "0.95", "0.95", "new"],
        ]
        assert lines[-1] == "! less than half is left of concept 2"

    check_each([80, 40], check)
    assert shown(outcome, "sks dog") == shown(None, *names) == []
    assert "--scorer" in " ".join(shown(Outcome(BETTER, None, ()), *names))


def test_the_numbers_are_json_for_programs(taught: Taught) -> None:
    result = taught.called.json[-1]["result"]
    assert result["outcome"]["held_out"]["draws"] == held_out.DRAWS
    assert result["outcome"]["is_learned"] in {True, False}
    (line,) = call("status", "--project", taught.folder, "--json").json
    (concept,) = line["result"]["concepts"]
    assert concept["outcome"] == result["outcome"]
    assert set(concept["files"]) == {"sheet", "outcome", "curve", "plot"}
    assert all(Path(file).is_file() for file in concept["files"].values())
    assert concept["training_seconds"] > 0
    assert concept["settings"]["schedule"]["steps"] == 3
    assert line["result"]["disk"]["curves"] > 0
    before = result["outcome"]["held_out"]["before"]["mean"]
    assert f"loss {before:.4f} to" in call("status", "--project", taught.folder).out


def test_what_is_forgotten_is_asked_of_a_scorer(project: Path, tmp_path: Path) -> None:
    cats = pictures(tmp_path / "cat_images", seed=9)
    asked = ("add-concept", "--project", project, "--max-forgetting", "0.1", *FAST)
    refused = call(*asked, cats)
    assert (refused.code, "--scorer dinov2:FOLDER" in refused.err) == (2, True)
    scorer = f"dinov2:{write_dinov2(tmp_path / 'dinov2')}"
    planned = call(*asked, "--scorer", scorer, "--dry-run", "--json", cats)
    assert planned.code == 0, planned.err
    assert f"scored by {scorer}; the run fails if a concept would lose more than 0.1" in planned.err
    plan = planned.json[-1]["result"]["plan"]
    assert (plan["scorer"], plan["max_forgetting"]) == (scorer, 0.1)


@pytest.mark.long
def test_report_and_comparison_through_the_command(project: Path, tmp_path: Path) -> None:
    done = call("report", "--project", project, "--json")
    assert done.code == 0, done.err
    assert Path(done.json[-1]["result"]["report"]) == project / "report.html"
    cats = pictures(tmp_path / "cat_images", seed=9)
    done = call("compare", "--project", project, "--strategies", "mask, merge", *FAST, cats)
    assert done.code == 0, done.err
    assert "compared 2 strategies" in done.out
    assert all(word in done.out for word in ("mask ", "merge ", "sheet.png", "table.csv"))
    assert Project.open(project).number == 1
    again = call("compare", "--project", project, "--strategies", "mask", *FAST, cats)
    assert (again.code, "already" in again.err) == (1, True)
