import contextlib

from training import benchmark


def test_the_pipeline_and_the_step_are_measured(capsys):
    options = ["--steps", "2", "--rounds", "1", "--batch-size", "8"]
    assert benchmark.main(["smoke", *options]) == 0
    out = capsys.readouterr().out
    for line in (
        "input pipeline",
        "first step",
        "train_on_batch",
        "ratn train",
    ):
        assert line in out


def test_the_steps_are_those_of_ratn_train(monkeypatch):
    """`fit` traces its own step, so that one must be fused too."""
    fused = []

    @contextlib.contextmanager
    def context(model):
        fused.append(True)
        yield
        fused.pop()

    def speed(*_):
        assert fused
        return 1.0

    monkeypatch.setattr(benchmark, "fused_batch_normalization", context)
    monkeypatch.setattr(benchmark, "loop_speed", speed)
    monkeypatch.setattr(benchmark, "fit_speed", speed)
    options = ["--steps", "1", "--rounds", "1", "--batch-size", "8"]
    assert benchmark.main(["smoke", *options]) == 0
    assert not fused


def test_the_pipeline_alone(capsys):
    assert benchmark.main(["smoke", "--data", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "input pipeline" in out and "train_on_batch" not in out


def test_the_pipeline_alone_without_a_data_set(capsys):
    assert benchmark.main(["--data", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "32 px arrays" in out and "224 px photos" in out
    assert out.count("input pipeline") == 2
    assert benchmark.main(["--steps", "2"]) == 1
    assert "There is no config" in capsys.readouterr().err


def test_a_config_that_is_not_there(capsys):
    assert benchmark.main(["no_such_config"]) == 1
    assert "There is no config" in capsys.readouterr().err
