import pytest

from pipeline.cli import commits

GOOD = "Say what\n\nAnd why.\n"


@pytest.mark.parametrize(
    "message",
    [
        GOOD,
        "x" * 72 + "\n\nwhy",
        "ü" * 72 + "\n\nwhy",
        'Revert "Say what"\n\nThis reverts commit 123.\n\nSigned-off-by: x\n',
    ],
)
def test_a_subject_of_72_characters_with_a_body_is_fit(message: str) -> None:
    assert list(commits.problems(message)) == []


@pytest.mark.parametrize(
    ("message", "problems"),
    [
        ("x" * 73 + "\n\nwhy", ["73 characters, of at most 72"]),
        ("Say what", ["no body"]),
        ("Say what\n\n", ["no body"]),
        ("Say what\n\nSigned-off-by: Somebody <x@y>\nChange-Id: I12\n", ["no body"]),
        ("Say what\nand why", ["second line is not empty", "no body"]),
        ("", ["no body"]),
    ],
)
def test_what_is_wrong_is_said(message: str, problems: list[str]) -> None:
    found = list(commits.problems(message))
    assert len(found) == len(problems)
    assert all(word in problem for word, problem in zip(problems, found, strict=True))
