"""Which stores, and which format, an image goes to."""

from __future__ import annotations

import pytest

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud.stores import CloudStore, choose, holding

STORES = [CloudStore("mirror"), CloudStore("main", is_default=True), CloudStore("web", "http", is_read_only=True)]


def test_no_choice_is_the_clouds_default() -> None:
    assert choose(STORES, (), "c") == ()


def test_all_means_every_store_that_can_be_written_and_the_default_first() -> None:
    assert choose(STORES, ("all",), "c") == ("main", "mirror")
    assert choose([], ("all",), "c") == ()


def test_the_default_store_holds_what_no_store_was_chosen_for() -> None:
    assert [store.id for store in holding(STORES, ())] == ["main"]
    assert [store.id for store in holding(STORES, ("mirror", "web"))] == ["mirror", "web"]


def test_named_stores_keep_their_order_and_count_once() -> None:
    assert choose(STORES, ("mirror", "main", "mirror"), "c") == ("mirror", "main")


@pytest.mark.parametrize("name", ["nowhere", "web"])
def test_a_store_that_cannot_be_written_is_named_with_those_that_can(name: str) -> None:
    with pytest.raises(PipelineError, match=f"cloud c has no store {name} .*it has: main, mirror"):
        choose(STORES, (name,), "c")


@pytest.mark.parametrize(
    ("flag", "meant"), [("true", True), ("True", True), (True, True), ("false", False), (None, False)]
)
def test_flags_are_read_as_services_send_them(flag: object, meant: bool) -> None:
    assert CloudStore.parse({"id": "a", "default": flag, "read-only": flag}) == CloudStore("a", None, meant, meant)
