"""From results to tables and pictures: scores that are made up, figures that are worked out by hand."""

from math import isnan
from pathlib import Path

import numpy as np
import pytest

from clora_ext.study.forecast import Forecast
from clora_ext.study.measured import Measured
from clora_ext.study.pictures import curves, frontier, heat_map, heat_maps
from clora_ext.study.plot import colour_of
from clora_ext.study.results import StudyFolder
from clora_ext.study.schedule import Run, Schedule
from clora_ext.study.tables import (
    concepts_table,
    costs_table,
    differences_table,
    drift_table,
    figures_table,
    forecasts_table,
    markdown,
    spread_table,
)

BASE, ALONE = 0.2, 0.7
# By strategy and order: first concept when taught and at the end, then the second one.
SCORES = {
    ("merge", "order 1"): (0.7, 0.3, 0.7),
    ("merge", "order 2"): (0.7, 0.4, 0.6),
    ("mask", "order 1"): (0.7, 0.6, 0.5),
    ("mask", "order 2"): (0.7, 0.6, 0.4),
}


def score(value: float) -> dict[str, object]:
    """Two prompts with two noises, which together have this mean."""
    return {
        "scores": {"digest": [[value - 0.1, value + 0.1], [value - 0.1, value + 0.1]]},
        "cost": {"seconds": 1},
    }


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    store = StudyFolder(tmp_path)
    store.make()
    runs = []
    for (strategy, order), (learned, final, second) in SCORES.items():
        names = ("dog", "toy") if order == "order 1" else ("toy", "dog")
        keys = {name: f"{strategy}-{order[-1]}-{name}" for name in ("a", "b", "c", "m1", "m2", "drift")}
        for name, value in (("a", learned), ("b", final), ("c", second)):
            store.write_result(keys[name], score(value))
        for name in ("m1", "m2"):
            cost = {
                "seconds": 9,
                "training_seconds": 4.0 if strategy == "merge" else 8.0,
                "peak_bytes": 3_000_000,
            }
            size = {"checkpoint": 10, "memory": 2000, "strategy": 500}
            store.write_result(keys[name], {"state_level": "L0", "bytes": size, "cost": cost})
        drift = {"latents": 0.5, "by_scorer": {"digest": {"kernel": 0.01, "paired": 0.25}}}
        store.write_result(keys["drift"], {"drift": drift, "cost": {"seconds": 1}})
        scores = ((keys["a"], ""), (keys["b"], keys["c"]))
        runs.append(Run(strategy, order, 0, names, (keys["m1"], keys["m2"]), scores, keys["drift"]))
    for name in ("dog", "toy"):
        for kind, value in (("base", BASE), ("alone", ALONE), ("ceiling", 0.9)):
            store.write_result(f"{kind}-{name}", score(value))
    schedule = Schedule(
        jobs=(),
        runs=tuple(runs),
        base={name: f"base-{name}" for name in ("dog", "toy")},
        ceiling={name: f"ceiling-{name}" for name in ("dog", "toy")},
        isolated={"0": {name: f"alone-{name}" for name in ("dog", "toy")}},
        scorers={"demo": "digest"},
        concepts={"dog": ("1", "2"), "toy": ("3", "4")},
        study="",
        place="",
    )
    return Measured(schedule, store, "demo")


def test_scores_become_matrices_and_shares(measured: Measured) -> None:
    run = measured.runs("merge")[0]
    matrix = measured.matrix(run)
    np.testing.assert_allclose(matrix.scores, [[0.7, np.nan], [0.3, 0.7]])
    np.testing.assert_allclose(measured.taken(run, normalised=True).scores, [[1, np.nan], [0.2, 1]])
    np.testing.assert_allclose(measured.matrix(run, noise=0).scores, [[0.6, np.nan], [0.2, 0.6]])


def test_spread_has_both_deviations_and_the_interval_over_orders(measured: Measured) -> None:
    row = spread_table(measured, normalised=False).splitlines()[2]
    # Average scores .5 and .5; plasticity .7 and .65; forgetting .2 and .15.
    assert row == (
        "| merge | 2 of 2 | 0.500 | 0.000 / 0.000 | 0.500 to 0.500 | 0.675 | 0.025 / 0.035 | 0.650 to 0.700 "
        "| 0.175 | 0.025 / 0.035 | 0.150 to 0.200 |"
    )


def test_differences_are_taken_in_pairs_of_order_and_noise(measured: Measured) -> None:
    (row,) = differences_table(measured, normalised=False).splitlines()[2:]
    # Per order: average .55 - .5 and .5 - .5, each by two noises, which shift both alike.
    assert row == (
        "| mask - merge | 0.025 +- 0.014 | 2 of 4 | -0.100 +- 0.000 | 0 of 4 | -0.125 +- 0.014 | 0 of 4 |"
    )


def test_every_definition_stands_in_the_table(measured: Measured) -> None:
    lines = figures_table(measured, normalised=True).splitlines()
    assert lines[0].count("|") == 11
    # Shares of merge: 1, .2, 1 and 1, .4, .8.
    assert lines[2] == "| merge | 0.600 | 0.950 | 0.350 | 0.700 | 0.700 | 0.700 | -0.700 | - | 0.050 |"


def test_scale_drift_and_cost(measured: Measured) -> None:
    assert "| dog | 4 | 0.200 | 0.700 | 0.900 |" in concepts_table(measured)
    assert "| mask | 0.010 | 0.250 | 0.500 |" in drift_table(measured)
    assert "| mask | 8 s | 3.0 MB | 500 B | 2.0 kB | L0 |" in costs_table(measured)


def test_forecasts_are_judged(measured: Measured) -> None:
    forecasts = [
        Forecast("paper_forgetting", "mask", below="merge", why="weights"),
        Forecast("plasticity", "mask", above=0.8),
        Forecast("forward_transfer", "mask", above=0.0),
    ]
    rows = forecasts_table(measured, forecasts).splitlines()[2:]
    assert rows == [
        "| paper forgetting of mask below that of merge | weights | 0.100 against 0.350 | held |",
        "| plasticity of mask above 0.8 | - | 0.750 | **did not hold** |",
        "| forward transfer of mask above 0 | - | - | not measured yet |",
    ]


def test_a_cell_cannot_break_a_table() -> None:
    assert markdown(["a"], [["x | y"]]).splitlines()[2] == "| x / y |"


def test_what_is_missing_is_left_out_of_means(measured: Measured, tmp_path: Path) -> None:
    whole = Measured(measured.schedule, StudyFolder(tmp_path), "demo")
    both = heat_maps(whole, normalised=True)
    (tmp_path / "results" / "merge-2-b.json").unlink()
    assert "| merge | 1 of 2 | 0.500 |" in spread_table(measured, normalised=False)
    (tmp_path / "results" / "merge-1-b.json").unlink()
    again = Measured(measured.schedule, StudyFolder(tmp_path), "demo")
    assert isnan(again.means("average_score", normalised=False)["merge"])
    assert "| merge | 0 of 2 | - |" in spread_table(again, normalised=False)
    for draw in (curves, frontier, heat_maps):
        assert draw(again, normalised=True).width >= 260
    assert heat_maps(again, normalised=True).width < both.width  # an empty one is left out
    colours = {pixel for _, pixel in frontier(again, normalised=True).getcolors(1 << 20) or []}
    assert colour_of(0) not in colours  # in the legend, too
    assert colour_of(1) in colours


def test_lines_and_dots_lie_where_their_values_are(measured: Measured) -> None:
    picture = curves(measured, normalised=True)
    colours = {pixel for _, pixel in picture.getcolors(1 << 20) or []}
    assert {colour_of(0), colour_of(1)} <= colours
    found = np.asarray(frontier(measured, normalised=True))[:, :600]
    centres = [np.argwhere((found == colour_of(number)).all(axis=2)).mean(axis=0) for number in (0, 1)]
    (merge_y, merge_x), (mask_y, mask_x) = centres
    assert mask_x < merge_x  # it learned less
    assert mask_y > merge_y  # and forgot less


def test_heat_maps_go_from_red_to_blue_and_fit_a_hundred_concepts() -> None:
    picture = heat_map(np.array([[1.0, np.nan], [0.0, 0.5]]), "mask", (0.0, 1.0))
    corners = [picture.getpixel(place) for place in ((34, 64), (86, 64), (34, 116), (86, 116))]
    assert corners == [(33, 102, 172), (255, 255, 255), (178, 24, 43), (247, 247, 247)]
    large = heat_map(np.tril(np.ones((100, 100))), "merge", (0.0, 1.0))
    assert large.width < 700
