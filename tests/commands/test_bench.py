import pytest


@pytest.mark.parametrize("name", ["confusion", "robustness"])
def test_an_unknown_damage_is_refused_before_anything_is_generated(run, sentence, tmp_path, name):
    line = sentence(run("bench", name, "--damage", "sledgehammer", "--out", tmp_path / "results"))
    assert "unknown damage 'sledgehammer'" in line and "wmark attack --list" in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pattern", "disc"], "'disc' is no kind and radius"),
        (["--pattern", "disc:0"], "radius 0"),
        (["--pattern", "ring:10"], "'ring' are not compared"),
        (["--pattern", "spiral:3"], "choose one of"),
        (["--strength", "1.5"], "1.5"),
    ],
)
def test_marks_that_cannot_be_compared_are_refused(run, sentence, tmp_path, options, said):
    assert said in sentence(run("bench", "marks", *options, "--out", tmp_path / "results"))
    assert not (tmp_path / "results").exists()


def test_pictures_that_cannot_be_fetched_are_named(run, sentence, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    line = sentence(run("bench", "null", "--data", tmp_path / "data", "--out", tmp_path / "results"))
    assert "of debian cannot be fetched (apt-get is needed to fetch packages: install it)" in line


def test_a_proxy_of_attackers_is_another_model(run, sentence, tmp_path):
    line = sentence(run("bench", "attackers", "--another", "tiny", "--out", tmp_path / "results"))
    assert "tiny is tiny, not another model" in line
    assert not (tmp_path / "results").exists()
