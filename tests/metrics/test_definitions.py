"""The definitions, against formulas written out here and the conventions of other benchmarks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clora_ext.errors import UsageError
from clora_ext.metrics.definitions import DEFINITIONS
from clora_ext.metrics.matrix import AccuracyMatrix

NAN = float("nan")
COUNTS = st.integers(2, 7)


@st.composite
def measured(draw: st.DrawFn, low: float = -1.0) -> AccuracyMatrix:
    """Random scores where a model had learned the concept, NaN elsewhere."""
    count = draw(COUNTS)
    values = draw(arrays(np.float64, (count, count), elements=st.floats(low, 1)))
    line = arrays(np.float64, (count,), elements=st.floats(low, 1))
    scores = np.where(np.tril(np.ones((count, count))) > 0, values, NAN)
    return AccuracyMatrix.of(scores, base=draw(line), isolated=draw(line))


# -- the conventions of other programs, in their own way: lists of rows that grow, dictionaries by task


def by_mammoth(rows: list[list[float]]) -> float:
    """mammoth pads each row with zeros, takes the highest of each column, and leaves out the last task."""
    size = len(rows)
    padded = [row + [0.0] * (size - len(row)) for row in rows]
    highest = [max(row[task] for row in padded) for task in range(size)]
    return sum(highest[task] - padded[-1][task] for task in range(size - 1)) / (size - 1)


def by_avalanche(rows: list[list[float]]) -> tuple[float, float]:
    """avalanche keeps the first and the last value of each experience; BWT is the negative of forgetting."""
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for trained_on, row in enumerate(rows):
        for experience, value in enumerate(row):
            if experience == trained_on:
                first[experience] = value
            else:
                last[experience] = value
    forgetting = [first[k] - last[k] for k in first if k in last]
    return sum(forgetting) / len(forgetting), -sum(forgetting) / len(forgetting)


def by_the_paper(rows: list[list[float]]) -> float:
    """Its script: of every concept the best score from its own model on, less the last model's."""
    size, total = len(rows), 0.0
    for concept in range(size):
        total += max(rows[model][concept] for model in range(concept, size)) - rows[-1][concept]
    return total / size


def by_chaudhry(rows: list[list[float]]) -> float:
    size = len(rows)
    lost = [
        max(rows[model][task] for model in range(task, size - 1)) - rows[-1][task] for task in range(size - 1)
    ]
    return sum(lost) / (size - 1)


def rows_of(matrix: AccuracyMatrix) -> list[list[float]]:
    return [list(row[: number + 1]) for number, row in enumerate(matrix.scores)]


@given(measured())
def test_forgetting_is_what_each_program_makes_of_the_same_scores(matrix: AccuracyMatrix) -> None:
    rows = rows_of(matrix)
    expected = {
        "mammoth_forgetting": by_mammoth(rows),
        "paper_forgetting": by_the_paper(rows),
        "chaudhry_forgetting": by_chaudhry(rows),
        "avalanche_forgetting": by_avalanche(rows)[0],
        "backward_transfer": by_avalanche(rows)[1],
        "average_score": sum(rows[-1]) / len(rows),
        "plasticity": sum(row[-1] for row in rows) / len(rows),
        "intransigence": sum(matrix.isolated[i] - rows[i][i] for i in range(len(rows))) / len(rows),
    }
    for name, value in expected.items():
        assert DEFINITIONS[name](matrix) == pytest.approx(value, abs=1e-12), name


@given(measured(low=0.0))
def test_the_papers_is_mammoths_spread_over_one_concept_more(matrix: AccuracyMatrix) -> None:
    share = (matrix.count - 1) / matrix.count
    assert DEFINITIONS["paper_forgetting"](matrix) == pytest.approx(
        share * DEFINITIONS["mammoth_forgetting"](matrix), abs=1e-12
    )


def test_negative_scores_part_the_papers_from_mammoths() -> None:
    matrix = AccuracyMatrix.of([[-0.5, None, None], [-0.6, 0.1, None], [-0.7, 0.1, 0.2]])
    assert DEFINITIONS["paper_forgetting"](matrix) == pytest.approx(0.2 / 3)
    # Its zeros for what was not measured count as scores, here for none: both concepts were always measured.
    later = AccuracyMatrix.of([[0.5, None, None], [0.5, -0.1, None], [0.5, -0.3, 0.2]])
    assert DEFINITIONS["paper_forgetting"](later) == pytest.approx(0.2 / 3)
    assert DEFINITIONS["mammoth_forgetting"](later) == pytest.approx(0.3 / 2)


@given(measured())
def test_a_transposed_input_gives_the_same_values(matrix: AccuracyMatrix) -> None:
    turned = AccuracyMatrix.of(
        matrix.scores.T, axes=("concept", "model"), base=matrix.base, isolated=matrix.isolated
    )
    for name, define in DEFINITIONS.items():
        assert define(turned) == pytest.approx(define(matrix), nan_ok=True), name


@given(measured())
def test_backward_transfer_is_avalanches_forgetting_with_the_other_sign(matrix: AccuracyMatrix) -> None:
    assert DEFINITIONS["backward_transfer"](matrix) == -DEFINITIONS["avalanche_forgetting"](matrix)


def test_by_hand() -> None:
    matrix = AccuracyMatrix.of(
        [[0.8, 0.3, 0.2], [0.9, 0.6, 0.25], [0.5, 0.7, 0.9]], base=[0.1, 0.2, 0.3], isolated=[0.9, 0.7, 1.0]
    )
    found = {name: round(define(matrix), 6) for name, define in DEFINITIONS.items()}
    assert found == {
        "average_score": 0.7,
        "paper_forgetting": round(0.4 / 3, 6),  # .9 - .5, .7 - .7, .9 - .9
        "chaudhry_forgetting": 0.15,  # (.9 - .5 and .6 - .7) / 2: better than ever counts against it
        "mammoth_forgetting": 0.2,
        "avalanche_forgetting": 0.1,  # (.8 - .5 and .6 - .7) / 2
        "backward_transfer": -0.1,
        "forward_transfer": 0.025,  # (.3 - .2 and .25 - .3) / 2
        "plasticity": round(2.3 / 3, 6),
        "intransigence": 0.1,
    }


def test_what_was_not_measured_is_not_a_number() -> None:
    matrix = AccuracyMatrix.of([[0.8, None], [0.9, 0.6]])
    assert np.isnan(DEFINITIONS["forward_transfer"](matrix))
    assert np.isnan(DEFINITIONS["intransigence"](matrix))
    alone = AccuracyMatrix.of([[0.8]])
    assert DEFINITIONS["paper_forgetting"](alone) == 0
    assert np.isnan(DEFINITIONS["chaudhry_forgetting"](alone))
    assert np.isnan(DEFINITIONS["backward_transfer"](alone))
    unfinished = AccuracyMatrix.of([[0.8, None], [None, None]])
    assert np.isnan(DEFINITIONS["average_score"](unfinished))


def test_normalised_scores_expose_learning_less() -> None:
    strong = AccuracyMatrix.of([[0.8, NAN], [0.6, 0.8]], base=[0.4, 0.6], isolated=[0.8, 0.8])
    timid = AccuracyMatrix.of([[0.5, NAN], [0.5, 0.65]], base=[0.4, 0.6], isolated=[0.8, 0.8])
    assert DEFINITIONS["paper_forgetting"](timid) < DEFINITIONS["paper_forgetting"](strong)
    assert DEFINITIONS["average_score"](strong.normalised()) == pytest.approx(0.75)
    assert DEFINITIONS["average_score"](timid.normalised()) == pytest.approx(0.25)
    hopeless = AccuracyMatrix.of([[0.5]], base=[0.5], isolated=[0.4]).normalised()
    assert np.isnan(hopeless.scores).all()


@pytest.mark.parametrize(
    "scores",
    [
        [[0.1, 0.2]],
        [],
        [[float("inf")]],
    ],
)
def test_other_shapes_and_infinities_are_refused(scores: list[list[float | None]]) -> None:
    with pytest.raises(UsageError):
        AccuracyMatrix.of(scores)


def test_axes_are_named_by_their_names() -> None:
    with pytest.raises(UsageError, match="unknown axes"):
        AccuracyMatrix.of([[0.1]], axes=("model", "model"))


def test_what_is_not_measured_is_null_in_json() -> None:
    assert AccuracyMatrix.of([[0.5]]).as_dict() == {
        "concepts": ["1"],
        "axes": ["model", "concept"],
        "scores": [[0.5]],
        "base": [None],
        "isolated": [None],
    }
