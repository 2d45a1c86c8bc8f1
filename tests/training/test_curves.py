"""Loss curves as tables and pictures."""

from dataclasses import replace
from pathlib import Path

from cases import check_each

from clora_ext.sampling.loss_plot import loss_plot
from clora_ext.training.curve import CurvePoint, read_curve, training_seconds, write_curve

POINTS = (CurvePoint(1, 0.5, 1e-4, 0.25), CurvePoint(2, 0.125, 2e-3, None), CurvePoint(4, 0.75, 2e-3, 0.5))


def test_a_curve_is_a_table_that_any_program_reads(tmp_path: Path) -> None:
    file = tmp_path / "curves" / "001-sks-dog.csv"
    write_curve(POINTS, file)
    assert file.read_bytes() == (
        b"step,loss,rate,seconds\n1,0.5,0.0001,0.250\n2,0.125,0.002,\n4,0.75,0.002,0.500\n"
    )
    assert read_curve(file) == POINTS
    assert training_seconds(POINTS) is None
    assert training_seconds(POINTS[::2]) == 0.75


def test_what_was_validated_is_a_column_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    points = (POINTS[0], replace(POINTS[1], validation=0.25))
    write_curve(points, file)
    assert file.read_bytes() == (
        b"step,loss,rate,seconds,validation\n1,0.5,0.0001,0.250,\n2,0.125,0.002,,0.25\n"
    )
    assert read_curve(file) == points


DAMAGED = (
    "", "step,loss\n1,2\n", "step,loss,rate,seconds\n1,nan,1,1\n", "step,loss,rate,seconds\n1,1,1,inf\n",
    "step,loss,rate,seconds\n2,1,1,1\n1,1,1,1\n", "step,loss,rate,seconds\n1,1\n",
    "step,loss,rate,seconds\nä",
    "step,loss,rate,seconds\n1,1,1,1\n1,1,1,1\n", "\0", "step,loss,rate,seconds\n1e9,1,1,1\n",
)  # fmt: skip


def test_a_damaged_table_is_no_curve(tmp_path: Path) -> None:
    def check(text: str) -> None:
        (tmp_path / "x.csv").write_text(text)
        assert read_curve(tmp_path / "x.csv") == ()

    check_each(DAMAGED, check)
    assert read_curve(tmp_path / "missing.csv") == ()


def test_a_plot_shows_where_the_loss_is() -> None:
    """High at first, then low: the dots are where the numbers are."""
    plot = loss_plot([1.0] * 50 + [0.1] * 50, "sks dog")
    dots = [
        (x, y)
        for x in range(90, plot.width - 30)
        for y in range(50, plot.height - 60)
        if plot.getpixel((x, y)) == (165, 186, 218)
    ]
    early = [y for x, y in dots if x < plot.width * 0.4]
    late = [y for x, y in dots if x > plot.width * 0.75]
    assert max(early) < plot.height * 0.3
    assert min(late) > plot.height * 0.7
    for losses in ([0.5], [0.0, 0.0], [1e-9] * 3, [1e6, 1.0]):
        assert loss_plot(losses, "x").size == plot.size
