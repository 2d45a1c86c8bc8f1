"""What a model's family suggests where the user says nothing."""

from real_shapes import sd1_header, sdxl_header

from clora_ext import Settings, families

HEADERS = {"sd1": sd1_header, "sdxl": sdxl_header}


def test_a_large_model_is_not_taught_as_the_demo_model_is() -> None:
    for name, rate in (("sd1", 1e-4), ("sdxl", 1e-5)):
        settings = Settings.of(**families.load(name).suggested_settings(HEADERS[name]()))
        assert settings.problems() == []
        assert settings.optimizer.learning_rate == rate < Settings().optimizer.learning_rate
