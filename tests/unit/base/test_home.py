from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home


def test_the_home_is_beside_the_code_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINE_HOME")
    assert Home.default().root == CHECKOUT / ".pipeline"
    assert (CHECKOUT / "pyproject.toml").is_file()


def test_the_cache_can_be_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_HOME", "/one")
    monkeypatch.setenv("PIPELINE_CACHE", "/shared")
    home = Home.default()
    assert (home.root, home.cache, home.runs) == (Path("/one"), Path("/shared"), Path("/one/runs"))


def test_a_relative_home_does_not_move_with_the_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_HOME", "state")
    home = Home.default()
    monkeypatch.chdir("/")
    assert home.root == tmp_path / "state"


@pytest.mark.parametrize("variable", ["PIPELINE_HOME", "PIPELINE_CACHE"])
@pytest.mark.parametrize(("name", "said"), [("/one,two", "a comma"), ("/one\ntwo", "a control character")])
def test_a_name_that_programs_would_cut_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str, said: str
) -> None:
    monkeypatch.setenv(variable, name)
    with pytest.raises(PipelineError, match=f"{variable}: .* has {said}"):
        Home.default()
