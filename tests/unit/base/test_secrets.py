"""Secrets come from outside, are known by name, and never show."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base import secrets
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home


@pytest.fixture(autouse=True)
def nothing_revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_revealed", set())


def _put(home: Home, name: str, text: str, mode: int = 0o600) -> Path:
    file = home.root / "secrets" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_from_a_variable(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SECRET_RHN_PASSWORD", "hunter22")
    secret = secrets.reveal("rhn-password", home)
    assert (secret.value, secret.identity) == ("hunter22", "rhn-password (generation 1)")
    assert "hunter22" not in repr(secret)


def test_from_a_file_with_its_generation(home: Home) -> None:
    _put(home, "rhn", "generation: 3\nhunter22\n")
    secret = secrets.reveal("rhn", home)
    assert (secret.value, secret.generation) == ("hunter22", 3)


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [("x", 0o644, "is open to others"), ("\n", 0o600, "is empty")],
)
def test_what_is_wrong_is_explained(home: Home, text: str, mode: int, reason: str) -> None:
    _put(home, "rhn", text, mode)
    with pytest.raises(PipelineError, match=reason):
        secrets.reveal("rhn", home)


def test_a_missing_secret_says_where_to_put_it(home: Home) -> None:
    with pytest.raises(PipelineError) as caught:
        secrets.reveal("rhn", home)
    assert "PIPELINE_SECRET_RHN" in str(caught.value) and str(home.root / "secrets" / "rhn") in str(caught.value)
    with pytest.raises(PipelineError, match="is no name of a secret"):
        secrets.reveal("../x", home)


@pytest.mark.parametrize("spelling", ["p@ss w/rd", "p%40ss%20w%2Frd", "cEBzcyB3L3Jk"])
def test_every_spelling_is_scrubbed(spelling: str) -> None:
    secrets.remember("p@ss w/rd")
    assert secrets.scrub(f"curl https://me:{spelling}@host") == "curl https://me:[secret]@host"


def test_quotes_in_json_are_scrubbed() -> None:
    secrets.remember('say "it"')
    assert "it" not in secrets.scrub(r'{"message": "say \"it\""}')


def test_short_words_are_left_alone() -> None:
    secrets.remember("abc")
    assert secrets.scrub("abc") == "abc"


def test_files_are_scrubbed_in_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_bytes(b"\x00before hunter22-and-more after\xff")
    (tmp_path / "other").write_text("innocent")
    secrets.remember("hunter22-and-more")
    secrets.scrub_files(tmp_path)
    assert (tmp_path / "a" / "log").read_bytes() == b"\x00before [secret]********* after\xff"
    assert (tmp_path / "other").read_text() == "innocent"
