# ruff: noqa: TID251 - the rule keeps the engine from the command line; these are its own tests
import io
from pathlib import Path

from cases import check_each
from clora_ext.cli.tables import dataset_summary, dataset_table, listing
from PIL import Image
from rich.console import Console

from clora_ext.data import Concept, Dataset, scan

DOG = Concept("sks", "dog")


def picture(path: Path, *, colour: int = 0, side: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (colour % 256, colour // 256, 9)).save(path)


def rendered(dataset: Dataset, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    console.print(dataset_table(dataset, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cells(text: str) -> list[list[str]]:
    """Rows of a table in which no cell is wrapped, without the header."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()[2:]]


def test_table_has_a_line_for_every_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", colour=1)
    (tmp_path / "b.txt").write_text("sks dog asleep", encoding="utf-8")
    assert cells(rendered(scan(tmp_path, concept=DOG, resolution=64))) == [
        ["a.png", "64 x 64", "a photo of sks dog", "default"],
        ["b.png", "64 x 64", "sks dog asleep", ".txt"],
    ]


def test_pictures_left_out_are_listed_with_the_reason(tmp_path: Path) -> None:
    picture(tmp_path / "good.png")
    (tmp_path / "empty.png").write_bytes(b"")
    dataset = scan(tmp_path, concept=DOG, resolution=64, skip_bad=True)
    assert f"left out: empty.png {dataset.rejected[0].reason}" in dataset_summary(dataset).splitlines()


def test_notes_of_pictures_are_shown(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", side=32)
    picture(tmp_path / "b.png", side=32)
    dataset = scan(tmp_path, concept=DOG, resolution=64)
    (row,) = cells(rendered(dataset, width=200))
    assert "smaller than 64 px" in row[-1]
    assert "b.png is a duplicate" in row[-1]
    assert "note: b.png is a duplicate of a.png" in dataset_summary(dataset)


def test_hostile_names_and_captions_are_shown_as_they_are(tmp_path: Path) -> None:
    picture(tmp_path / "[red]x[bold].png")
    (tmp_path / "[red]x[bold].txt").write_text("[b]sks[/b] :dog:", encoding="utf-8")
    dataset = scan(tmp_path, concept=DOG, resolution=64)

    def check(width: int) -> None:
        row = ["[red]x[bold].png", "64 x 64", "[b]sks[/b] :dog:", ".txt"]
        assert cells(rendered(dataset, width)) == [row]

    check_each([80, 120], check)


def test_table_fits_and_names_of_files_are_never_cut(tmp_path: Path) -> None:
    name = "a-very-long-name-" * 8 + ".png"
    picture(tmp_path / name, side=32)
    (tmp_path / name.replace(".png", ".txt")).write_text("a sks dog " * 50, encoding="utf-8")
    dataset = scan(tmp_path, concept=DOG, resolution=64)

    def check(width: int) -> None:
        rows = rendered(dataset, width).splitlines()
        assert max(map(len, rows)) <= width
        first_column = rows[2].index("32 x 32")
        assert "".join(row[:first_column].strip() for row in rows[2:]) == name
        assert "…" in rows[2]

    check_each([60, 80, 120, 200], check)


def test_without_room_for_columns_every_picture_stands_below_the_other(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", side=32)
    (tmp_path / "a.txt").write_text("a sks dog that lies on a red sofa and sleeps", encoding="utf-8")
    text = rendered(scan(tmp_path, concept=DOG, resolution=64), width=40)
    assert max(map(len, text.splitlines())) <= 40
    told = " ".join(text.split())
    assert "a.png 32 x 32" in told
    assert "a sks dog that lies on a red sofa and sleeps (.txt) smaller than 64 px" in told


def test_a_listing_that_does_not_fit_names_every_value() -> None:
    columns, rows = ["#", "concept", "strategy"], [["1", "sks dog", "mask"], ["2", "zwz [b]toy[/b]\x1b", ""]]

    def shown(width: int) -> list[str]:
        console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
        console.print(listing(columns, rows, width))
        assert isinstance(console.file, io.StringIO)
        return [line.rstrip() for line in console.file.getvalue().splitlines()]

    assert shown(80)[2:] == ["1  sks dog             mask", r"2  zwz [b]toy[/b]\x1b"]
    assert shown(19) == ["1 sks dog", "  strategy: mask", "2 zwz", r"[b]toy[/b]\x1b"]


def test_of_many_pictures_those_with_notes_come_first(tmp_path: Path) -> None:
    for number in range(60):
        picture(tmp_path / f"{number:03}.png", colour=number)
    picture(tmp_path / "999.png", colour=99, side=32)
    dataset = scan(tmp_path, concept=DOG, resolution=64)
    rows = cells(rendered(dataset))
    assert len(rows) == 40
    assert rows[0][0] == "999.png"
    assert "61 pictures" in dataset_summary(dataset)
    assert "21 more than the table shows" in dataset_summary(dataset)


def test_repeats_of_a_kohya_folder_are_shown(tmp_path: Path) -> None:
    picture(tmp_path / "10_sks dog" / "a.png")
    assert cells(rendered(scan(tmp_path, concept=DOG, resolution=64)))[0][-1] == "shown 10 times"
