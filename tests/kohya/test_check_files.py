"""Whole files of sd-scripts and other programs: what they are called, and all their faults at once."""

from pathlib import Path

from asking import RATE, checked
from cases import check_each
from hypothesis import given
from hypothesis import strategies as st

from clora_ext.kohya.check import check
from clora_ext.kohya.finding import errors, notes
from clora_ext.kohya.key import dataset_keys, training_keys

FOREIGN: list[tuple[str, str, str]] = [
    ("[[subsets]]\nimage_dir = 'x'\n[general_args.args]\nseed = 1", "x.toml", "LoRA_Easy_Training_Scripts"),
    ('{"LoRA_type": "Standard", "seed": 1}', "x.json", "kohya_ss"),
    ("[configuration]\nconfig_dir = 'x'\n[model]\nmodels_dir = 'y'", "x.toml", "kohya_ss"),
    ("[metadata]\nname = 'x'\n[data]\nresolution = '768,768'", "x.toml", "a preset of lora-scripts"),
    ("[[datasets]]\nimage_directory = 'x'\ncache_directory = 'y'", "x.toml", "musubi-tuner"),
    ("[prompt]\nwidth = 512\n[[prompt.subset]]\nprompt = 'a cat'", "x.toml", "prompts for samples"),
    ("job: extension", "x.yaml", "YAML"),
    ("a cat --w 512", "prompts.txt", "prompts for samples"),
    ("", "x.toml", "is empty"),
]


def test_files_of_other_programs_are_called_what_they_are(tmp_path: Path) -> None:
    def look(case: tuple[str, str, str]) -> None:
        text, name, words = case
        (only,) = checked(tmp_path, text, name).findings
        assert only.is_error
        assert words in only.message

    check_each(FOREIGN, look)


def test_all_faults_of_all_files_come_at_once_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text("[[datasets]]\nbatch_sise = 1\n[[datasets.subsets]]\nimage_dir = 'x'")
    train = tmp_path / "train.toml"
    train.write_text('seed = -1\ndataset_config = "data.toml"\nlearning_rat = 1\n')
    found = check([train])
    assert [(one.path.name, one.line, one.key) for one in errors(found.findings)] == [
        ("train.toml", 1, "seed"),
        ("train.toml", 3, "learning_rat"),
        ("data.toml", 2, "batch_sise"),
    ]
    assert found.files == (train, tmp_path / "data.toml")


def test_two_files_of_one_kind_are_one_too_many(tmp_path: Path) -> None:
    paths = [tmp_path / "a.toml", tmp_path / "b.toml"]
    for path in paths:
        path.write_text(RATE)
    assert [one.message for one in errors(check(paths).findings)] == [
        f"is a second training file beside {paths[0]}"
    ]


def test_what_a_subset_inherits(tmp_path: Path) -> None:
    """A subset's own value, else its dataset's, else the general one; 0 and false count too."""
    text = """
    [general]
    num_repeats = 2
    [[datasets]]
    num_repeats = 3
    batch_size = 4
      [[datasets.subsets]]
      image_dir = 'a'
      [[datasets.subsets]]
      image_dir = 'b'
      num_repeats = 5
    [[datasets]]
      [[datasets.subsets]]
      image_dir = 'c'
    """
    file = checked(tmp_path, text, "data.toml").dataset
    assert file is not None
    subsets = [subset for dataset in file.datasets for subset in dataset.subsets]
    assert [one.given["num_repeats"].value for one in subsets] == [3, 5, 2]
    assert [dataset.given.get("batch_size") is not None for dataset in file.datasets] == [True, False]


def test_a_key_in_the_wrong_table_is_sent_to_the_right_one(tmp_path: Path) -> None:
    text = "x = 1\nnum_repeats = 1\nseed = 1\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'\n"
    text += "batch_size = 2\nlearning_rate = 1"
    found = {one.key: one for one in errors(checked(tmp_path, text, "data.toml").findings)}
    assert found["batch_size"].suggestion == "move it to [general] or [[datasets]]"
    assert found["learning_rate"].suggestion == found["seed"].suggestion == "move it to the training file"
    assert found["num_repeats"].suggestion == "move it below [general]"
    assert found["x"].message == "no part of a dataset file"


LETTERS = "abcdefghijklmnopqrstuvwxyz_"


@given(data=st.data())
def test_every_slip_of_the_finger_is_recognised(data: st.DataObject) -> None:
    from clora_ext.kohya.nearest import nearest

    known = data.draw(st.sampled_from([tuple(training_keys()), tuple(dataset_keys())]))
    name = data.draw(st.sampled_from(known))
    place = data.draw(st.integers(0, len(name)))
    letter = data.draw(st.sampled_from(LETTERS))
    swapped = name[:place] + name[place : place + 2][::-1] + name[place + 2 :]
    slips = [name[:place] + letter + name[place:], name[:place] + name[place + 1 :], swapped]
    slips.append(name[:place] + letter + name[place + 1 :])
    slip = data.draw(st.sampled_from(slips))
    if slip not in known:
        found = nearest(slip, known)
        assert name in found or len(found) == 3


def test_notes_are_no_errors(tmp_path: Path) -> None:
    found = checked(tmp_path, RATE + "xformers = true\nsave_state = true\n")
    assert not errors(found.findings)
    assert [one.key for one in notes(found.findings)] == ["xformers", "save_state"]
