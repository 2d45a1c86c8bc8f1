"""Study files: what is read, what is refused with which remedy, and what ships."""

from pathlib import Path

import pytest
from small_study import STUDY

from clora_ext.errors import SettingsError, UsageError
from clora_ext.study.file import StudyFile, read_study
from clora_ext.study.run import find_source
from clora_ext.study.shipped import SHIPPED, shipped_study


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read_study(text, "f.toml")
    return list(raised.value.problems)


def test_every_unknown_key_is_named_with_the_nearest_and_all_at_once() -> None:
    wrong = STUDY.replace("noises", "noise").replace("token =", "tokn =").replace("title", "headline")
    found = problems(wrong)
    assert [line for line in found if "unknown key evaluation.noise; did you mean 'noises'?" in line]
    assert [line for line in found if "concepts[2].tokn; did you mean 'token'?" in line]
    assert [line for line in found if "unknown key headline; choose one of: title" in line]
    assert "f.toml: title is missing" in found


def test_values_of_other_types_are_refused() -> None:
    found = problems(STUDY.replace("noises = 2", 'noises = "2"'))
    assert found[0].startswith("f.toml: evaluation.noises: input should be a valid integer, not '2'")
    assert "greater than or equal to 1" in problems(STUDY.replace("noises = 2", "noises = 0"))[0]


def test_names_that_nothing_bears_are_refused() -> None:
    wrong = STUDY.replace('["robot", "dog"]', '["robot", "cat", "robot"]')
    wrong = wrong.replace('name = "mask"', 'name = "msak"')
    found = problems(wrong)
    assert "f.toml: an order names 'cat', which is no concept" in found
    assert "f.toml: an order teaches 'robot' twice" in found
    assert [line for line in found if "unknown strategy 'msak'" in line and "'mask'" in line]


def test_concepts_and_strategies_are_told_apart() -> None:
    assert "f.toml: two concepts have the token 'sks'" in problems(STUDY.replace('"sbu"', '"SKS"'))
    twice = problems(STUDY.replace('name = "mask"', 'name = "merge"'))
    assert twice == ["f.toml: two strategies are called 'merge': give one a label"]
    both = problems(STUDY.replace('drawn = "dog"', 'drawn = "dog"\nfolder = "dogs"'))
    assert both == ["f.toml: concept 'dog' needs either a folder or drawn"]


@pytest.mark.parametrize(
    ("forecast", "expected"),
    [
        ('figure = "forward_transfer"\nstrategy = "merge"\nbelow = 0.1', "set evaluation.future = true"),
        ('figure = "forgeting"\nstrategy = "merge"\nbelow = 0.1', "unknown figure 'forgeting'"),
        (
            'figure = "plasticity"\nstrategy = "merg"\nbelow = 0.1',
            "'merg', which is no strategy here; did",
        ),
        ('figure = "plasticity"\nstrategy = "merge"\nbelow = "mast"', "'mast', which is no strategy here"),
        ('figure = "plasticity"\nstrategy = "merge"', "needs either below or above"),
        ('figure = "plasticity"\nstrategy = "merge"\nbelow = nan', "finite"),
    ],
)
def test_a_forecast_that_cannot_be_measured_is_refused_before_anything_runs(
    forecast: str, expected: str
) -> None:
    found = problems(f"{STUDY}\n[[forecasts]]\n{forecast}\n")
    assert [line for line in found if expected in line], found


def test_normalised_forecasts_need_isolated_models() -> None:
    text = STUDY.replace("[grid]", "[grid]\nisolated = false")
    assert "set grid.isolated = true" in problems(text)[0]
    raw = text.replace("above = -100.0", "above = -100.0\nnormalised = false")
    assert read_study(raw, "f.toml").grid.isolated is False


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no TOML"):
        read_study("x", "f.toml")
    with pytest.raises(UsageError, match="cannot read the study") as raised:
        find_source(str(tmp_path / "none.toml"))
    assert "demo" in raised.value.fix


def test_a_file_of_a_later_format_is_refused() -> None:
    assert "less than or equal to 1" in problems(f"format = 2\n{STUDY}")[0]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_studies_are_whole(name: str) -> None:
    study = read_study(shipped_study(name), name)
    assert study.forecast.strip()
    assert study.forecasts
    assert study.about.strip()


def test_the_four_that_are_promised_ship() -> None:
    assert SHIPPED == ("demo", "demo_10", "demo_100", "paper_objects", "paper_styles")


def shipped(name: str) -> StudyFile:
    return read_study(shipped_study(name), name)


def test_the_papers_orders() -> None:
    """As its script shuffles its list of objects; written down from its repository."""
    orders = shipped("paper_objects").orders()
    assert list(orders) == ["shuffle 0", "shuffle 5", "shuffle 10", "shuffle 42"]
    short = {
        "colorful_sneaker": "sneaker",
        "fancy_boot": "boot",
        "bear_plushie": "bear",
        "berry_bowl": "bowl",
    }
    short |= {"pink_sunglasses": "glasses", "red_cartoon": "cartoon"}
    assert [" ".join(short.get(name, name) for name in order) for order in orders.values()] == [
        "bowl cartoon boot can bear candle backpack sneaker teapot glasses",
        "backpack bear boot sneaker cartoon bowl glasses can candle teapot",
        "can backpack bowl boot cartoon candle bear glasses sneaker teapot",
        "bowl bear backpack cartoon can glasses teapot candle sneaker boot",
    ]


@pytest.mark.parametrize("name", ["paper_objects", "paper_styles"])
def test_the_papers_grid(name: str) -> None:
    study = shipped(name)
    assert study.grid.seeds == [0, 5]
    assert study.grid.shuffles == [0, 5, 10, 42]
    assert len(study.concepts) == 10
    assert {len(one.prompts) for one in study.concepts} == {5}
    assert (study.evaluation.noises, study.evaluation.steps) == (8, 50)
    assert {one.name for one in study.strategies} >= {"naive", "merge", "orthogonal", "mask"}
    assert study.settings == {
        "rank": 64,
        "alpha": 64.0,
        "steps": 850,
        "batch_size": 1,
        "learning_rate": 1e-5,
        "weight_decay": 1e-4,
        "max_grad_norm": 1.0,
        "warmup_steps": 0,
        "targets": "attention",
        "resolution": 1024,
    }


def test_a_hundred_concepts_have_a_hundred_tokens_and_pictures() -> None:
    study = shipped("demo_100")
    assert len({one.token for one in study.concepts}) == len({one.drawn for one in study.concepts}) == 100
