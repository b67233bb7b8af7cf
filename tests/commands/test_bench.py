import pytest


@pytest.mark.parametrize("name", ["confusion", "robustness"])
def test_an_unknown_damage_is_refused_before_anything_is_generated(run, sentence, tmp_path, name):
    line = sentence(run("bench", name, "--damage", "sledgehammer", "--out", tmp_path / "results"))
    assert "unknown damage 'sledgehammer'" in line and "wmark attack --list" in line
    assert not (tmp_path / "results").exists()
