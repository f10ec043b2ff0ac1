from __future__ import annotations

from pipeline.image.definitions.judge import DefinedProperties

CORES = {"cores": {"type": "integer", "minimum": 1}}


def defined() -> DefinedProperties:
    known = DefinedProperties()
    known.add("One", "hw_", CORES)
    return known


def test_names_have_the_prefix() -> None:
    found = defined().judge({"hw_cores": "0", "cores": "0"})
    assert [str(one) for one in found.wrong] == ["hw_cores: '0' is not a whole number from 1 (One)"]
    assert found.unknown == ("cores",)


def test_only_what_is_asked_for_is_judged() -> None:
    assert defined().judge({"hw_cores": "0", "mine": "x"}, ["mine"]).wrong == ()


def test_one_of_several_definitions_is_enough() -> None:
    known = defined()
    known.add("Two", "", {"hw_cores": {"type": "string", "enum": ["all"]}})
    assert known.judge({"hw_cores": "all"}).wrong == known.judge({"hw_cores": "3"}).wrong == ()
    (wrong,) = known.judge({"hw_cores": "none"}).wrong
    assert wrong.message == "'none' is not a whole number from 1 (One); or one of all (Two)"


def test_one_that_cannot_judge_lets_pass() -> None:
    known = defined()
    known.add("Two", "hw_", {"cores": {"type": "array"}})
    assert known.judge({"hw_cores": "0"}).wrong == ()


def test_what_is_no_text_is_left_alone() -> None:
    assert defined().judge({"hw_cores": None}).wrong == ()


def test_definitions_add_up() -> None:
    known = DefinedProperties()
    known.add_all(defined())
    known.add_all(defined())
    assert len(known) == 1 and known.judge({"hw_cores": "0"}).wrong
