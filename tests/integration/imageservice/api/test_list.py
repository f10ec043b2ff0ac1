"""``GET /v2/images``."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.integration.imageservice.api.world import Api, image_id, message


def names(api: Api, who: str, query: str = "") -> set[str]:
    person = getattr(api, who)
    images = person.get(f"/v2/images?limit=1000&{query}").json["images"]
    ours = [one for one in images if (one["owner"] or "").endswith(api.suffix)]
    return {one["name"] for one in ours}


@pytest.fixture
def shelf(api: Api) -> Api:
    """Images of all visibilities of two projects, some shared with a third."""
    for owner in ("alice", "bob"):
        for visibility in ("private", "shared", "community"):
            getattr(api, owner).create(name=f"{owner}-{visibility}", visibility=visibility)
        person = getattr(api, owner)
        api.admin.create(name=f"{owner}-public", visibility="public", owner=person.project)
        person.create(name=f"{owner}-hidden", visibility="private", os_hidden=True)
        for status in ("pending", "accepted", "rejected"):
            path = person.create(name=f"{owner}-for-carl-{status}")
            assert person.post(f"{path}/members", {"member": api.carl.project}).status_code == 200
            if status != "pending":
                answer = api.carl.put(f"{path}/members/{api.carl.project}", {"status": status})
                assert answer.status_code == 200
    return api


def test_who_sees_what(shelf: Api) -> None:
    own = {f"alice-{kind}" for kind in ("private", "shared", "community", "public")}
    given = {f"alice-for-carl-{status}" for status in ("pending", "accepted", "rejected")}
    assert names(shelf, "alice") == own | given | {"bob-public"}
    assert names(shelf, "rita") == names(shelf, "alice")
    assert names(shelf, "carl") == {"alice-public", "bob-public", "alice-for-carl-accepted", "bob-for-carl-accepted"}
    everything = {f"{who}-{kind}" for who in ("alice", "bob") for kind in ("private", "shared", "public")}
    everything |= {
        f"{who}-for-carl-{status}" for who in ("alice", "bob") for status in ("pending", "accepted", "rejected")
    }
    assert names(shelf, "admin") == everything


@pytest.mark.parametrize(
    ("who", "query", "expected"),
    [
        ("alice", "visibility=public", {"alice-public", "bob-public"}),
        ("alice", "visibility=private", {"alice-private"}),
        ("alice", "visibility=community", {"alice-community", "bob-community"}),
        ("carl", "visibility=shared", {"alice-for-carl-accepted", "bob-for-carl-accepted"}),
        ("carl", "visibility=shared&member_status=pending", {"alice-for-carl-pending", "bob-for-carl-pending"}),
        ("carl", "visibility=shared&member_status=rejected&owner={bob}", {"bob-for-carl-rejected"}),
        ("carl", "visibility=private", set()),
        ("carl", "owner={alice}", {"alice-public", "alice-for-carl-accepted"}),
        ("carl", "owner={carl}", set()),
        ("alice", "os_hidden=true", {"alice-hidden"}),
        ("alice", "os_hidden=TRUE", {"alice-hidden"}),
        ("bob", "os_hidden=false&visibility=private", {"bob-private"}),
        ("admin", "os_hidden=True", {"alice-hidden", "bob-hidden"}),
        ("admin", "visibility=community", {"alice-community", "bob-community"}),
        ("admin", "owner={bob}&visibility=shared&name=bob-shared", {"bob-shared"}),
        ("alice", "status=deleted", set()),
        ("alice", "deleted=true&name=alice-private", {"alice-private"}),
    ],
)
def test_filters_by_reach(shelf: Api, who: str, query: str, expected: set[str]) -> None:
    projects = {name: getattr(shelf, name).project for name in ("alice", "bob", "carl")}
    assert names(shelf, who, query.format(**projects)) == expected


def test_all_adds_the_community(shelf: Api) -> None:
    assert names(shelf, "carl", "visibility=all") == names(shelf, "carl") | {"alice-community", "bob-community"}
    assert names(shelf, "admin", "visibility=all") == names(shelf, "admin") | {"alice-community", "bob-community"}
    assert names(shelf, "carl", "member_status=all&visibility=shared") == {
        f"{who}-for-carl-{status}" for who in ("alice", "bob") for status in ("pending", "accepted", "rejected")
    }


def test_filters_by_value(api: Api) -> None:
    first = api.alice.active(b"12345", name="one", x="1", y="2", tags=["red", "blue"], min_ram=512, protected=True)
    second = api.alice.create(name="two, three", x="1", tags=["red"], disk_format="iso", container_format="ova")
    third = api.alice.create(name='quo"ted', y="2", min_disk=3)
    image = api.alice.get(first).json
    expected = {
        "x=1": {first, second},
        "x=1&y=2": {first},
        "x=2": set(),
        "nothing=1": set(),
        "is_public=true": set(),
        "tag=red": {first, second},
        "tag=red&tag=blue": {first},
        "tag=%20red%20": {first, second},
        "tag=red&x=1&name=one": {first},
        "name=one": {first},
        "name=eq:one": {first},
        "name=in:one,other": {first},
        'name=in:one,"two, three"': {first, second},
        'name=in:"quo\\"ted"': {third},
        "name=in:,one": {first},
        "name_min=p": {second, third},
        f"id={image_id(second)}": {second},
        f"id=in:{image_id(second)},{image_id(third)}": {second, third},
        "status=active": {first},
        "status=in:active,queued": {first, second, third},
        "disk_format=iso": {second},
        "disk_format=in:raw,iso": {first, second},
        "container_format=ova": {second},
        "size=5": {first},
        "size=abc": set(),
        "size_min=5": {first},
        "size_max=4": set(),
        "size_min=5&size_max=5": {first},
        "min_ram=512": {first},
        "min_ram_min=1": {first},
        "min_ram_max=511": {second, third},
        "min_disk=3": {third},
        "min_disk_max=99999999999999999999": None,
        "protected=true": {first},
        "protected=false": {second, third},
        f"checksum={image['checksum']}": {first},
        f"os_hash_value={image['os_hash_value']}": {first},
        "os_hash_algo=sha512": {first},
        "foo_min=1": set(),
        "limit=0": set(),
    }
    for query, paths in expected.items():
        if paths is None:
            assert api.alice.get(f"/v2/images?{query}").status_code == 400
            continue
        assert set(api.alice.ids(query)) == {image_id(path) for path in paths}, query


def test_a_colon_is_a_letter_where_no_operator_is_meant(api: Api) -> None:
    plain, colon, operator = (api.alice.create(name=name) for name in ("one", "a:b", "in:x"))
    url = api.alice.create(name="https://x/y", tags=["t:u"], **{"a:b": "c:d"})
    expected = {
        "name=a:b": {colon},
        "name=eq:a:b": {colon},
        "name=in:a:b,one": {colon, plain},
        "name=in:https://x/y": {url},
        "name=https://x/y": {url},
        "name=:": set(),
        "name=IN:one": set(),  # operators have small letters
        "name=in:x": set(),
        "name=eq:in:x": {operator},
        'name=in:"in:x",one': {operator, plain},
        "a:b=c:d": {url},
        "tag=t:u": {url},
        "tag=eq:red": set(),
        "owner=in:x": set(),
        "checksum=eq:x": set(),
    }
    for query, paths in expected.items():
        assert set(api.alice.ids(query)) == {image_id(path) for path in paths}, query
    assert "eq:gte:" in message(api.alice.get("/v2/images?name=gte:5"))


def test_filters_by_time(api: Api) -> None:
    path = api.alice.create()
    moment = api.alice.get(path).json["created_at"]
    year = moment[:4]
    for query, found in {
        f"created_at={moment}": True,
        f"created_at=eq:{moment}": True,
        f"created_at=neq:{moment}": False,
        f"created_at=gt:{moment}": False,
        f"created_at=gte:{moment}": True,
        f"created_at=lt:{moment}": False,
        f"created_at=lte:{moment}": True,
        f"updated_at=gte:{moment[:-1]}": True,
        f"created_at=gte:{year}-01-01": True,
        "created_at=gt:2100-01-01T00:00:00Z": False,
        "created_at=lt:2100-01-01T00:00:00%2B01:00": True,
        f"created_at=gt:2000-01-01T00:00:00Z&updated_at=lte:{moment}": True,
    }.items():
        assert bool(api.alice.ids(query)) is found, query


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "limit=٣",
        "marker=unknown",
        "sort=nonsense",
        "sort=name:up",
        "sort=name&sort_key=id",
        "sort=name&sort_dir=asc",
        "sort_key=nonsense",
        "sort_key=min_ram",
        "sort_dir=up",
        "sort_key=name&sort_key=id&sort_key=size&sort_dir=asc&sort_dir=desc",
        "visibility=none",
        "visibility=",
        "member_status=maybe",
        "protected=True",
        "protected=1",
        "os_hidden=yes",
        "changes-since=2020-01-01",
        "created_at=yesterday",
        "created_at=about:2020-01-01",
        "created_at=gt:2020-13-01",
        "created_at=gt:",
        "updated_at=",
        "size_min=x",
        "min_disk_max=x",
        "name=neq:one",
        "name=gte:one",
        "status=a:b",
        "status=neq:active",
        'name=in:"a',
        'name=in:a"b"',
        "&".join(f"a{n}=1" for n in range(1001)),
    ],
    ids=lambda query: query[:40],
)
def test_queries_that_make_no_sense(api: Api, query: str) -> None:
    answer = api.alice.get("/v2/images", query=query)
    assert answer.status_code == 400
    assert len(message(answer)) > 10


def test_pages(api: Api) -> None:
    paths = [api.alice.create(name=str(number), tags=["t", "u"]) for number in range(5)]
    newest_first = [image_id(path) for path in reversed(paths)]
    page = api.alice.get("/v2/images?limit=2").json
    assert [one["id"] for one in page["images"]] == newest_first[:2]
    assert page["first"] == "/v2/images?limit=2"
    assert page["next"] == f"/v2/images?limit=2&marker={newest_first[1]}"
    assert page["schema"] == "/v2/schemas/images"
    assert api.alice.ids("limit=2") == newest_first
    full = api.alice.get("/v2/images?limit=5").json
    assert "next" in full
    last = api.alice.get(full["next"]).json
    assert (last["images"], "next" in last) == ([], False)
    assert "next" not in api.alice.get("/v2/images?limit=0").json
    assert api.alice.get("/v2/images").json["first"] == "/v2/images"


def test_links_keep_every_parameter(api: Api) -> None:
    for number in range(3):
        api.alice.create(name=f"ä{number}", tags=["t", "u v"], **{"a&b": "c=d"})
    query = "tag=t&tag=u%20v&sort_key=name&sort_key=id&sort_dir=asc&sort_dir=desc&limit=2&a%26b=c%3Dd"
    page = api.alice.get("/v2/images", query=query).json
    assert parse_qsl(urlsplit(page["first"]).query) == parse_qsl(query)
    assert parse_qsl(urlsplit(page["next"]).query) == [*parse_qsl(query), ("marker", page["images"][-1]["id"])]
    assert len(api.alice.get(page["next"]).json["images"]) == 1
    again = api.alice.get(page["next"]).json
    assert parse_qsl(urlsplit(again["first"]).query) == parse_qsl(query)


def test_markers(api: Api) -> None:
    api.alice.create()
    foreign = api.bob.create(visibility="private")
    assert api.alice.get(f"/v2/images?marker={image_id(foreign)}").status_code == 403
    gone = api.alice.create()
    api.alice.delete(gone)
    assert api.alice.get(f"/v2/images?marker={image_id(gone)}").status_code == 400


def test_order(api: Api) -> None:
    made = {}
    for name, size in (("b", 3), ("a", 2), ("C", 1), (None, 0)):
        path = api.alice.active(b"x" * size, name=name) if size else api.alice.create(name=name)
        made[image_id(path)] = name
        time.sleep(0.002)

    def order(query: str) -> list[str | None]:
        return [made[one] for one in api.alice.ids(query)]

    assert order("") == [None, "C", "a", "b"]
    assert order("sort_dir=asc") == ["b", "a", "C", None]
    assert order("sort=name:asc") == [None, "C", "a", "b"]
    assert order("sort=name") == ["b", "a", "C", None]
    assert order("sort_key=size&sort_dir=asc") == [None, "C", "a", "b"]
    assert order("sort=status:asc,size:desc") == ["b", "a", "C", None]
    assert order("sort_key=status&sort_key=name&sort_dir=asc&sort_dir=desc") == ["b", "a", "C", None]
    for query in ("sort=name:asc", "sort=name", "sort=status:asc,size:desc", "sort_dir=asc", "sort=size:asc"):
        assert order(f"{query}&limit=1") == order(query)


def test_the_longest_page_is_the_operators(make_api, api: Api) -> None:  # type: ignore[no-untyped-def]
    for _ in range(3):
        api.alice.create()
    narrow = make_api(api={"default_limit": 1, "max_limit": 2})
    assert len(narrow.alice.get("/v2/images").json["images"]) == 1
    assert len(narrow.alice.get("/v2/images?limit=100").json["images"]) == 2


def test_anonymous_callers(make_api, api: Api) -> None:  # type: ignore[no-untyped-def]
    public = api.admin.create(name="open", visibility="public", owner=api.alice.project)
    private = api.alice.create(visibility="private")
    opened = make_api(allow_anonymous=True)
    assert "open" in names(api, "carl")
    assert image_id(public) in opened.nobody.ids()
    assert image_id(private) not in opened.nobody.ids()
    assert opened.nobody.get(public).status_code == 200
    assert opened.nobody.get(private).status_code == 404
    refused = opened.nobody.post("/v2/images", {})
    assert refused.status_code == 403
    assert "read-only" in message(refused)
    assert opened.nobody.patch(public, []).status_code == 403
    assert opened.nobody.delete(public).status_code == 403


def test_anonymous_callers_see_public_images_only(make_api, api: Api) -> None:  # type: ignore[no-untyped-def]
    """On every way to an image."""
    opened = make_api(allow_anonymous=True, api={"version_1": True})
    community = api.alice.active(b"theirs", visibility="community", name="community")
    ownerless = api.admin.active(b"nobody's", visibility="private", owner="", name="ownerless")
    for path in (community, ownerless):
        one = image_id(path)
        assert opened.carl.get(path).status_code == 200
        for way in (path, f"{path}/file", f"{path}/members", f"/v1/images/{one}", f"/v1/images/{one}/members"):
            assert opened.nobody.get(way).status_code == 404, way
        assert opened.nobody.call("HEAD", f"/v1/images/{one}").status_code == 404
        for visibility in ("community", "private", "shared", "all", "public"):
            assert one not in opened.nobody.ids(f"visibility={visibility}")
        assert one not in opened.nobody.ids() + opened.nobody.ids(f"owner={api.alice.project}")
        assert opened.nobody.get(f"/v2/images?marker={one}").status_code == 403
        assert opened.nobody.get(f"/v1/images?marker={one}").status_code == 400
        for listed in ("/v1/images", "/v1/images/detail", "/v1/images?is_public=none", "/v1/images?is_public=false"):
            assert one not in [image["id"] for image in opened.nobody.get(listed).json["images"]]
