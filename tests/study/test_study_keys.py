"""Keys: equal content gives one job, whichever strategies ask for it; other content gives another."""

from pathlib import Path

import pytest
from small_study import STUDY

from clora_ext import strategies
from clora_ext.errors import SettingsError, UsageError
from clora_ext.strategies.mask import Mask
from clora_ext.study.cell import first_strategy
from clora_ext.study.plan import StudyPlan
from clora_ext.study.run import find_source, plan_in, read_study
from clora_ext.study.schedule import Schedule, read_schedule


def planned(text: str, beside: Path, folder: Path) -> StudyPlan:
    return plan_in(folder, read_study(text, "f.toml"), text, beside.parent)


def keys(schedule: Schedule) -> set[str]:
    return {job.key for job in schedule.jobs}


@pytest.fixture
def plan(tiny_study: Path, tmp_path: Path) -> StudyPlan:
    return planned(STUDY, tiny_study, tmp_path)


def test_the_grid_shares_first_concepts_and_isolated_models(plan: StudyPlan) -> None:
    schedule = plan.schedule
    # Two first concepts, which are the isolated models too, and a second one by each strategy in each order.
    assert len(schedule.of_kind("teach")) == 2 + 4
    assert len(schedule.runs) == 4
    for order in ("order 1", "order 2"):
        assert len({run.models[0] for run in schedule.runs if run.order == order}) == 1
    assert len({run.models[1] for run in schedule.runs}) == 4
    assert {job.words for job in schedule.of_kind("teach") if not job.needs} == {
        "teach dog first, by every strategy alike, seed 0",
        "teach robot first, by every strategy alike, seed 0",
    }
    # Each concept by the base, by itself alone, and both by each of the four last models.
    assert len(schedule.of_kind("score")) == 2 + 2 + 8
    assert len(schedule.of_kind("drift")) == 4
    assert schedule.isolated["0"]["dog"] == schedule.runs[0].scores[0][0]


def test_what_a_job_needs_comes_before_it(plan: StudyPlan) -> None:
    seen: set[str] = set()
    for job in plan.schedule.jobs:
        assert seen.issuperset(job.needs)
        seen.add(job.key)


def test_only_strategies_that_take_no_part_in_the_training_share_their_first_concept() -> None:
    shared = {name for name in strategies.names() if first_strategy(name) == "naive"}
    assert {"merge", "mask", "orthogonal", "naive"} <= shared
    assert "distill" not in shared


def test_keys_change_with_what_the_result_depends_on_and_with_nothing_else(
    plan: StudyPlan, tiny_study: Path, tmp_path: Path
) -> None:
    before = plan.schedule

    def again(old: str, new: str) -> Schedule:
        assert old in STUDY
        return planned(STUDY.replace(old, new), tiny_study, tmp_path).schedule

    renamed = again('title = "A tiny study"', 'title = "Another"')
    assert keys(renamed) == keys(before)
    sheets = again("steps = 3", "steps = 3\nsample_count = 2")
    assert keys(sheets) == keys(before)  # contact sheets change nothing about a model
    longer = again("steps = 3", "steps = 4")
    assert {job.key for job in longer.of_kind("teach")}.isdisjoint(keys(before))
    assert longer.base == before.base
    noisier = again("noises = 2", "noises = 3")
    assert [job.key for job in noisier.of_kind("teach")] == [job.key for job in before.of_kind("teach")]
    assert {job.key for job in noisier.of_kind("score")}.isdisjoint(keys(before))
    other_words = again('class_name = "robot toy"', 'class_name = "toy"')
    assert keys(other_words) & keys(before) == {
        job.key for job in before.jobs if job.concept == "dog" and "robot" not in job.words
    }
    wider = again('name = "mask"', 'name = "mask"\n\n[[strategies]]\nname = "orthogonal"')
    assert keys(wider) > keys(before)


def test_results_from_before_a_strategy_was_revised_do_not_count(
    plan: StudyPlan, tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mask, "revision", Mask.revision + 1)
    revised = planned(STUDY, tiny_study, tmp_path).schedule
    still = {run.strategy: run.models for run in plan.schedule.runs if run.order == "order 1"}
    now = {run.strategy: run.models for run in revised.runs if run.order == "order 1"}
    assert still["merge"] == now["merge"]
    assert still["mask"][0] == now["mask"][0]  # which is taught for all strategies alike
    assert still["mask"][1] != now["mask"][1]


def test_settings_that_do_not_fit_are_told_with_the_strategys_name(tiny_study: Path, tmp_path: Path) -> None:
    wrong = STUDY.replace('name = "mask"', 'name = "orthogonal"\noptions = { modus = 3 }')
    with pytest.raises(SettingsError, match=r"orthogonal: .*modus"):
        planned(wrong, tiny_study, tmp_path)
    with pytest.raises(SettingsError, match=r"merge: unknown setting 'stepz'; did you mean 'steps'"):
        planned(STUDY.replace("steps = 3", "stepz = 3"), tiny_study, tmp_path)


def test_a_scorer_that_is_not_there_is_refused_before_anything_runs(tiny_study: Path, tmp_path: Path) -> None:
    text = STUDY.replace("noises = 2", 'noises = 2\nscorers = ["dena"]')
    with pytest.raises(UsageError, match="unknown scorer 'dena'") as raised:
        planned(text, tiny_study, tmp_path)
    assert "demo" in raised.value.fix


def test_a_schedule_reads_back_as_it_was_written(plan: StudyPlan, tmp_path: Path) -> None:
    plan.schedule.write(tmp_path)
    assert read_schedule(tmp_path) == plan.schedule


def test_only_some_models_are_asked_about_everything(tiny_study: Path, tmp_path: Path) -> None:
    sparse = planned(STUDY.replace("noises = 2", "noises = 2\nafter = [5]"), tiny_study, tmp_path).schedule
    assert [[bool(key) for key in row] for row in sparse.runs[0].scores] == [[True, False], [True, True]]
    ahead = planned(STUDY.replace("noises = 2", "noises = 2\nfuture = true"), tiny_study, tmp_path).schedule
    assert all(key for run in ahead.runs for row in run.scores for key in row)


def test_paths_go_from_the_file_or_from_where_the_user_says(tiny_study: Path, tmp_path: Path) -> None:
    assert find_source(str(tiny_study)).place == tiny_study.parent
    assert find_source(str(tiny_study), tmp_path).place == tmp_path
    assert find_source("demo").folder == Path("demo-study")
