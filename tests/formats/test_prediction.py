"""What a network predicts, found in every way that is in use."""

from clora_ext.formats.header import Header, TensorInfo
from clora_ext.formats.prediction import header_prediction, scheduler_prediction

EMPTY = TensorInfo("F32", (0,), 0, 0)


def test_v_prediction_is_recognised_by_any_of_its_signs() -> None:
    assert header_prediction(Header({"v_pred": EMPTY})) == "v"
    for key in ("modelspec.prediction_type", "modelspec.predict_key"):
        assert header_prediction(Header({}, {key: "v"})) == "v"
        assert header_prediction(Header({}, {key: "v_prediction"})) == "v"
        assert header_prediction(Header({}, {key: "epsilon"})) == "epsilon"
    assert header_prediction(Header({"vae_pred": EMPTY})) == "epsilon"


def test_a_scheduler_that_says_nothing_predicts_noise() -> None:
    assert scheduler_prediction({"prediction_type": "v_prediction"}) == "v"
    assert scheduler_prediction({"prediction_type": "epsilon"}) == scheduler_prediction({}) == "epsilon"
