"""Names in paths."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imageservice.api.metadefs.names import BASE, link, named, routed

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)


@given(_names, _names, st.sampled_from(["", "/image", "/x%20y"]))
def test_any_name_comes_through(namespace: str, name: str, mounted: str) -> None:
    sent = "/".join(quote(part, safe="") for part in (namespace, "tags", name))
    path = f"{BASE}/namespaces/{unquote(sent)}"
    found = routed({"RAW_URI": f"{mounted}/v2.7/metadefs/namespaces/{sent}?limit=1"}, path)
    segments = found.removeprefix(f"{BASE}/namespaces/").split("/")
    assert [named(segment) for segment in segments] == [namespace, "tags", name]


@given(_names)
def test_links_lead_back(namespace: str) -> None:
    sent = link(namespace, "objects", "x")
    found = routed({"RAW_URI": sent}, unquote(sent))
    assert named(found.split("/")[4]) == namespace


@pytest.mark.parametrize("environ", [{}, {"RAW_URI": "/"}, {"RAW_URI": "/v2/metadefs/namespaces/other"}])
def test_without_the_raw_path_what_the_server_made_of_it_has_to_do(environ: dict[str, str]) -> None:
    found = routed(environ, f"{BASE}/namespaces/50%2F:x")
    assert named(found.rpartition("/")[2]) == "50%2F:x"


def test_slashes_in_a_row_are_one_but_the_last_stays() -> None:
    sent = f"{BASE}/namespaces//a//tags/x%2F%2Fy//"
    assert routed({"RAW_URI": sent}, unquote(sent)) == f"{BASE}/namespaces/a/tags/x%2F%2Fy/"


def test_other_paths_stay() -> None:
    assert routed({"RAW_URI": "/v2/images/a%2Fb"}, "/v2/images/a/b") == "/v2/images/a/b"
