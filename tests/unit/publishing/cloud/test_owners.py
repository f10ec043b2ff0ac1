"""Whose images are ours: what the owner says, and nothing else."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.publishing.cloud.errors import CloudConflict, OwnerUnknown
from pipeline.publishing.cloud.http import Http
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from tests.unit.publishing.builders import CHAIN, OURS, record

_TEXTS = some.text(max_size=8)


@given(_TEXTS | some.none(), some.dictionaries(some.sampled_from(sorted(CHAIN.filters)), _TEXTS))
def test_only_the_owner_counts(owner: str | None, marks: dict[str, Any]) -> None:
    owners = Owners(OURS, ("before",))
    image = record(ImageState.NEWEST, owner=owner, **marks)
    assert (image in owners) == (owner in (OURS, "before"))


def test_as_long_as_nobody_told_who_we_are_nothing_is_ours() -> None:
    for owners in (Owners(), Owners(None, (OURS,)), Owners("")):
        assert record(ImageState.NEWEST, owner=OURS) not in owners
        assert record(ImageState.NEWEST, owner="") not in owners
    assert not Owners(None, (OURS,)).are_known


def test_where_nothing_has_an_owner_that_is_ours() -> None:
    owners = Owners(are_nobodys=True)
    assert owners.are_known
    assert record(ImageState.NEWEST, owner=None) in owners
    assert record(ImageState.NEWEST, owner=OURS) not in owners


class Cloud:
    """An image service that has one image under every id, and refuses to make another."""

    status_code = 200
    headers: ClassVar[dict[str, str]] = {}
    text = ""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def request(self, url: str, method: str, **options: Any) -> Any:
        answer = Cloud(self.found)
        answer.status_code = 409 if method == "POST" else 200
        return answer

    @property
    def content(self) -> bytes:
        return json.dumps(self.found).encode()

    def close(self) -> None:
        """Nothing is open."""

    def get_endpoint(self) -> str | None:
        return "http://cloud"

    def get_project_id(self) -> str | None:
        return OURS


def made(owners: Owners, **found: Any) -> ImageApi:
    http = Http(
        Cloud({"id": "an-id", "pipeline_run": "a run", **found}), "test", CloudRetryPolicy(sleep=lambda seconds: None)
    )
    assert http.project == OURS
    return ImageApi(http, owners)


def test_a_record_that_is_found_is_the_one_that_was_made_only_if_it_is_ours() -> None:
    document = {"id": "an-id", "pipeline_run": "a run"}
    assert made(Owners(OURS), owner=OURS).create(document).id == "an-id"
    for owners, owner in ((Owners(OURS), "stranger"), (Owners(), OURS), (Owners(), "stranger")):
        with pytest.raises(CloudConflict):
            made(owners, owner=owner).create(document)


def test_nothing_is_listed_before_it_is_known_who_we_are() -> None:
    with pytest.raises(OwnerUnknown, match="does not tell which project"):
        made(Owners()).images()
