"""Metadata definitions beside the reference service: clients' lines, files, and its database."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests

from pipeline.base.home import CHECKOUT
from pipeline.cli.handlers import metadefs as commands
from pipeline.host.system import process
from pipeline.imageservice.lifecycle import adopt
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.base import DriverContext
from pipeline.imageservice.stores.collection import Stores
from pipeline.imageservice.stores.file.options import FileDirectory, FileOptions
from tests.environments import client_lines
from tests.environments import glance as reference
from tests.environments.client_lines import Outcome
from tests.environments.deployed_service import ImageService, image_service, with_keystone
from tests.environments.fixtures import installed
from tests.environments.glance import Glance
from tests.environments.keystone import Keystone
from tests.environments.venv import environment
from tests.integration.imageservice.api.metadefs import unquoted
from tests.integration.imageservice.api.metadefs.shelf import FULL

pytestmark = pytest.mark.server
# A colon, blanks, letters and signs of other alphabets, in all the room there is; and the same in ASCII.
NAME = "Ours::of ünï ✓ "
NAME += "x" * (80 - len(NAME))
ASCII = str.maketrans("üïé✓", "uiev")
PLAIN = NAME.translate(ASCII)


@pytest.fixture(scope="module")
def glance(keystone: Keystone) -> Iterator[Glance]:
    with installed(reference.glance(keystone)) as service:
        yield service


@pytest.fixture(scope="module")
def ours(keystone: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    with image_service(tmp_path_factory.mktemp("ours"), with_keystone(keystone)) as running:
        yield running


class Both:
    """The two services, asked by one administrator."""

    def __init__(self, keystone: Keystone, glance: Glance, ours: ImageService) -> None:
        self.glance, self.ours = glance, ours
        self.urls = {"glance": glance.url, "ours": ours.url}
        self.token = keystone.token("admin")

    def get(self, which: str, path: str) -> Any:
        answer = requests.get(self.urls[which] + path, headers={"X-Auth-Token": self.token}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, which: str, path: str, body: Any) -> None:
        answer = requests.post(self.urls[which] + path, json=body, headers={"X-Auth-Token": self.token}, timeout=60)
        assert answer.status_code == 201, answer.text

    def namespaces(self, which: str) -> dict[str, Any]:
        """Everything a service shows of every namespace, by name."""
        names = [one["namespace"] for one in self.get(which, "/v2/metadefs/namespaces?limit=1000")["namespaces"]]
        return {name: self.get(which, f"/v2/metadefs/namespaces/{quote(name, safe='')}") for name in names}

    def clear(self) -> None:
        """Take everything away from both."""
        for url in self.urls.values():
            headers = {"X-Auth-Token": self.token}
            listed = requests.get(f"{url}/v2/metadefs/namespaces?limit=1000", headers=headers, timeout=60).json()
            for one in listed["namespaces"]:
                path = f"{url}/v2/metadefs/namespaces/{quote(one['namespace'], safe='')}"
                if one["protected"]:
                    requests.put(path, json={"namespace": one["namespace"]}, headers=headers, timeout=60)
                assert requests.delete(path, headers=headers, timeout=60).status_code == 204


@pytest.fixture
def both(keystone: Keystone, glance: Glance, ours: ImageService) -> Iterator[Both]:
    services = Both(keystone, glance, ours)
    services.clear()
    # The reference knows a type of resource once a namespace was for it, ours has some from the beginning.
    known = services.get("ours", "/v2/metadefs/resource_types")["resource_types"]
    body = {"namespace": "types", "resource_type_associations": [{"name": one["name"]} for one in known]}
    services.post("glance", "/v2/metadefs/namespaces", body)
    services.clear()
    yield services
    services.clear()


def plain(document: Any, *without: str) -> Any:
    """A document whose lists and members have one order, without the members of these names.

    Links are as they are read: ours are quoted. Default values are text: the reference shows them so.
    """
    if isinstance(document, dict):
        members = {name: plain(value, *without) for name, value in sorted(document.items()) if name not in without}
        readers: dict[str, Callable[[Any], Any]] = {"self": unquote, "default": str}
        return {
            name: readers[name](value) if name in readers and not isinstance(value, dict | list) else value
            for name, value in members.items()
        }
    if isinstance(document, list):
        return sorted((plain(one, *without) for one in document), key=lambda one: json.dumps(one, sort_keys=True))
    return document


def differences(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two plain documents differ, and how."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = sorted({*mine, *theirs})
        return [text for name in names for text in differences(mine.get(name), theirs.get(name), f"{path}/{name}")]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [text for number, pair in pairs for text in differences(*pair, f"{path}[{number}]")]
    return [] if mine == theirs else [f"{path}: {mine!r}, there {theirs!r}"]


def settings_of(service: ImageService) -> str:
    return str(service.folder / "settings.yaml")


def with_their_command(both: Both, *words: str | Path) -> None:
    manage: Path = environment("glance").program("glance-manage")
    command: list[str | Path] = [manage, "--config-file", both.glance.folder / "glance-api.conf", *words]
    process.run(command, cwd=both.glance.folder, env={"PYTHONWARNINGS": "ignore"})


# --- the clients -----------------------------------------------------------------------------------------------------


def glance_lines(folder: Path) -> list[list[str]]:
    """Each of the 30 verbs ``glance md-…``, with what is typed after it."""
    file = folder / "ü.json"
    file.write_text(json.dumps({"namespace": f"imported {NAME[:20]}", **FULL}))
    file.with_name("u.json").write_text(json.dumps({"namespace": f"imported {PLAIN[:20]}", **FULL}))
    schema = json.dumps({"description": "D", "enum": ["a", "b"]})
    inner = {"inner é": {"title": "I", "type": "string"}}
    thing = json.dumps({"description": "O", "properties": inner}, ensure_ascii=False)
    return [
        ["md-namespace-create", NAME, "--display-name", "Ünï", "--description", "D", "--visibility", "public"],
        ["md-namespace-create", NAME],
        ["md-namespace-import", "--file", str(file)],
        ["md-namespace-list"],
        ["md-namespace-list", "--visibility", "public", "--resource-types", "OS::Nova::Flavor", "--page-size", "1"],
        ["md-namespace-update", NAME, "--description", "edited", "--visibility", "public", "--display-name", "Ünï"],
        ["md-property-create", NAME, "--name", "p:é", "--title", "P", "--type", "string", "--schema", schema],
        ["md-property-update", NAME, "p:é", "--name", "q q", "--title", "Q", "--schema", '{"type": "string"}'],
        ["md-property-list", NAME],
        ["md-property-show", NAME, "q q"],
        ["md-property-show", NAME, "none"],
        ["md-object-create", NAME, "--name", "o:é", "--schema", thing],
        ["md-object-update", NAME, "o:é", "--name", "o 2", "--schema", thing],
        ["md-object-list", NAME],
        ["md-object-show", NAME, "o 2"],
        ["md-object-property-show", NAME, "o 2", "inner é"],
        ["md-resource-type-list"],
        ["md-resource-type-associate", NAME, "--name", "OS::Nova::Server", "--prefix", "hw:"],
        ["md-namespace-resource-type-list", NAME],
        ["md-namespace-show", NAME, "--resource-type", "OS::Nova::Server"],
        ["md-resource-type-deassociate", NAME, "OS::Nova::Server"],
        ["md-tag-create", NAME, "--name", "t:é"],
        ["md-tag-create-multiple", NAME, "--names", "b é,c", "--append"],
        ["md-tag-update", NAME, "t:é", "--name", "t 2"],
        ["md-tag-show", NAME, "t 2"],
        ["md-tag-list", NAME],
        ["md-namespace-show", NAME],
        ["md-tag-delete", NAME, "t 2"],
        ["md-tag-create-multiple", NAME, "--names", "d;e", "--delim", ";"],
        ["md-tag-list", NAME],
        ["md-object-delete", NAME, "o 2"],
        ["md-property-delete", NAME, "q q"],
        ["md-namespace-objects-delete", NAME],
        ["md-namespace-properties-delete", NAME],
        ["md-namespace-tags-delete", NAME],
        ["md-namespace-show", NAME],
        ["md-namespace-delete", NAME],
        ["md-namespace-show", NAME],
    ]


def openstack_lines(_folder: Path) -> list[list[str]]:
    """Each of the 21 verbs ``openstack image metadef …``, with what is typed after it."""
    schema = json.dumps({"description": "D", "enum": ["a", "b"]})
    lines = [
        ["namespace create", NAME, "--display-name", "Ünï", "--description", "D", "--public"],
        ["namespace create", NAME],
        ["namespace create", "simple", "--private"],
        ["namespace list", "--visibility", "public"],
        ["namespace set", NAME, "--description", "edited", "--public", "--tag", "t:é", "--tag", "u u"],
        ["namespace show", NAME],
        ["namespace unset", NAME, "--tag", "t:é"],
        ["namespace unset", NAME, "--all-tags"],
        ["object create", "--namespace", NAME, "o:é"],
        ["object update", NAME, "o:é", "--name", "o 2"],
        ["object list", NAME],
        ["object show", NAME, "o 2"],
        ["object property show", NAME, "o 2", "none"],
        ["property create", "--name", "p:é", "--title", "P", "--type", "string", "--schema", schema, NAME],
        ["property set", "--title", "Q", NAME, "p:é"],
        ["property list", NAME],
        ["property show", NAME, "p:é"],
        ["resource type list"],
        ["resource type association create", NAME, "OS::Nova::Server"],
        ["resource type association list", NAME],
        ["resource type association delete", NAME, "OS::Nova::Server"],
        ["property delete", NAME, "p:é"],
        ["object delete", NAME, "o 2"],
        ["namespace show", NAME],
        ["namespace delete", NAME, "simple"],
        ["namespace list"],
    ]
    return [[f"image metadef {verb}", *rest] for verb, *rest in lines]


LINES = {"glance": glance_lines, "openstack": openstack_lines}
VERBS = {"glance": 30, "openstack": 21}


def environment_of(client: str, url: str, token: str) -> Mapping[str, str]:
    if client == "glance":
        return {"OS_AUTH_TOKEN": token, "OS_IMAGE_URL": url}
    return {"OS_AUTH_TYPE": "admin_token", "OS_TOKEN": token, "OS_ENDPOINT": f"{url}/v2"}


def said(outcome: Outcome) -> tuple[int, list[str]]:
    """What a line did, without moments, orders that only times give, and words only one service has for a mistake."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?", "MOMENT", outcome.out)
    text = re.sub(r'\["[^]]*\]', lambda found: json.dumps(sorted(json.loads(found[0])), ensure_ascii=False), text)
    text = re.sub(r" +", " ", re.sub(r"-{3,}", "-", text))
    code = re.findall(r"\b(?:HTTP |HttpException: |Client Error.*|)\b([45]\d\d)\b", outcome.err)[:1]
    return outcome.status, sorted(text.translate(ASCII).splitlines()) + code


@pytest.mark.parametrize(
    "apart",
    # Two hundred processes, each of which imports for seconds.
    [False, pytest.param(True, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
    ids=["together", "apart"],
)
@pytest.mark.parametrize("client", ["glance", "openstack"])
def test_every_verb_does_what_it_does_with_the_reference(both: Both, tmp_path: Path, client: str, apart: bool) -> None:
    lines = LINES[client](tmp_path)
    plain_lines = [[word.translate(ASCII) for word in line] for line in lines]
    assert len({verb for verb, *_rest in lines}) == VERBS[client]

    def run(which: str, lines: list[list[str]]) -> list[Outcome]:
        typed = [[*verb.split(), *rest] for verb, *rest in lines]
        return client_lines.run(client, typed, env=environment_of(client, both.urls[which], both.token), apart=apart)

    mine, theirs = run("ours", plain_lines), run("glance", plain_lines)
    wrong = [each for each in zip(lines, mine, theirs, strict=True) if said(each[1]) != said(each[2])]
    assert not wrong, "\n\n".join(f"{line}\n{said(one)}\n{said(other)}" for line, one, other in wrong)
    assert [one.status for one in mine].count(0) >= len(lines) - 4
    both.clear()
    # Letters of other alphabets make no difference.
    foreign = run("ours", lines)
    wrong = [each for each in zip(lines, foreign, mine, strict=True) if said(each[1]) != said(each[2])]
    assert not wrong, "\n\n".join(f"{line}\n{said(one)}\n{said(other)}" for line, one, other in wrong)
    assert any(NAME in one.out for one in foreign)


@pytest.mark.parametrize("client", ["glance", "openstack"])
def test_verbs_as_programs_of_their_own(both: Both, client: str) -> None:
    """Two of each client's; the long test above runs all of them so."""
    verb = {"glance": "md-namespace-{}", "openstack": "image metadef namespace {}"}[client].format
    lines = [[*verb("create").split(), PLAIN, "--description", "D"], [*verb("show").split(), PLAIN]]

    def run(which: str) -> list[tuple[int, list[str]]]:
        env = environment_of(client, both.urls[which], both.token)
        return [said(one) for one in client_lines.run(client, lines, env=env, apart=True)]

    mine = run("ours")
    assert mine == run("glance")
    assert [status for status, _out in mine] == [0, 0]


def test_a_program_with_the_sdks_four_resources_sees_no_difference(both: Both) -> None:
    program = Path(__file__).with_name("sdk_program.py")

    def run(which: str, name: str) -> list[Any]:
        command: list[str | Path] = [sys.executable, program, both.urls[which], both.token, name]
        env = {"HOME": "/nonexistent", "PYTHONPATH": str(CHECKOUT), "PYTHONIOENCODING": "utf-8"}
        found: list[Any] = json.loads(process.run(command, env=env).stdout)
        return found

    mine, theirs = run("ours", PLAIN), run("glance", PLAIN)
    assert [each for each in zip(mine, theirs, strict=True) if each[0] != each[1]] == []
    failed = {what: outcome["status"] for what, outcome in mine if isinstance(outcome, dict) and "error" in outcome}
    assert failed == {"create again": 409, "property again": 409, "no object": 404, "delete again": 404}
    assert dict(mine)["nothing"] == []
    # There, no path leads to letters of other alphabets; here they make no difference.
    foreign = run("ours", NAME)
    assert json.loads(json.dumps(foreign, ensure_ascii=False).replace(NAME, PLAIN)) == mine


@pytest.mark.long
def test_names_that_clients_do_not_quote_are_answered_as_there(both: Both) -> None:
    def asked(which: str) -> unquoted.Ask:
        def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
            headers = {"X-Auth-Token": both.token}
            answer = requests.request(method, both.urls[which] + path, json=body, headers=headers, timeout=60)
            return answer.status_code, answer.json() if answer.status_code == 200 else None

        return ask

    try:
        for which in both.urls:
            for name in unquoted.NAMESPACES:
                both.post(which, "/v2/metadefs/namespaces", {"namespace": name, **unquoted.CONTENTS})
        assert {status for _, _, status, _ in unquoted.answers(asked("glance"), unquoted.BROKEN_THERE)} == {500}
        assert unquoted.answers(asked("ours"), unquoted.BROKEN_THERE) == list(unquoted.BROKEN_THERE)
        for which in both.urls:
            assert unquoted.answers(asked(which), unquoted.ROWS) == list(unquoted.ROWS), which
    finally:
        with_their_command(both, "db_unload_metadefs")  # no path of its API leads to a name with a slash


# --- files -----------------------------------------------------------------------------------------------------------


def load_with_their_command(both: Both, folder: Path) -> None:
    with_their_command(both, "db_load_metadefs", folder)


def given_to_ours(both: Both) -> None:
    both.post("ours", "/v2/metadefs/namespaces", {"namespace": PLAIN, **FULL})
    both.post("ours", "/v2/metadefs/namespaces", {"namespace": "Bare", "protected": True})
    both.post("ours", "/v2/metadefs/namespaces", {"namespace": "Every thing", "visibility": "public", **EVERYTHING})


EVERYTHING: dict[str, Any] = {
    "properties": {
        "each/one": {
            "name": "each/one",
            "title": "Each",
            "description": "ü",
            "type": "array",
            "operators": ["<in>", "<or>"],
            "items": {"type": "string", "enum": ["a", "b"]},
            "uniqueItems": True,
            "minItems": 0,
            "maxItems": 3,
            "additionalItems": False,
            "readonly": True,
        },
        "text": {"title": "T", "type": "string", "minLength": 1, "maxLength": 9, "pattern": "^[a-z]+$", "enum": ["x"]},
        "share": {"title": "S", "type": "number", "minimum": 1, "maximum": 2, "default": 1.5},
    },
    "objects": [{"name": "plain"}, {"name": "with", "description": "D", "required": ["a", "b"], "properties": {}}],
    "tags": [{"name": "ü ✓"}],
}


def test_our_export_loads_into_the_reference(both: Both, tmp_path: Path) -> None:
    given_to_ours(both)
    commands.export(settings_of(both.ours), str(tmp_path / "out"))
    load_with_their_command(both, tmp_path / "out")
    # Its loader leaves out who owns what, what an object requires, and its own moments are others.
    without = ("owner", "created_at", "updated_at", "required")
    mine, theirs = both.namespaces("ours"), both.namespaces("glance")
    assert len(mine) == 3
    assert differences(plain(mine, *without), plain(theirs, *without)) == []


def test_the_files_of_the_reference_load_into_ours(both: Both, tmp_path: Path) -> None:
    files = tmp_path / "theirs"
    files.mkdir()
    for file in (environment("glance").folder / "etc" / "glance" / "metadefs").glob("*.json"):
        shutil.copy(file, files)
    commands.load(settings_of(both.ours), str(files), merge=False, prefer_new=False, overwrite=False)
    load_with_their_command(both, files)
    mine, theirs = both.namespaces("ours"), both.namespaces("glance")
    assert len(mine) == len(list(files.iterdir())) >= 32
    assert {one["visibility"] for one in mine.values()} == {"public"}
    without = ("owner", "created_at", "updated_at", "required", "visibility")
    assert differences(plain(mine, *without), plain(theirs, *without)) == []


# --- its database ----------------------------------------------------------------------------------------------------


def test_adoption_changes_nothing(both: Both, tmp_path: Path) -> None:
    for name, body in ((PLAIN, FULL), ("Bare", {"protected": True}), ("each", EVERYTHING)):
        both.post("glance", "/v2/metadefs/namespaces", {"namespace": name, **body})
    both.post("glance", f"/v2/metadefs/namespaces/{quote(PLAIN)}/resource_types", {"name": "OS::New::Thing"})
    database = Service.from_settings(Settings.load(both.ours.folder / "settings.yaml")).database
    stores = _stores(tmp_path)
    before = adopt.adopt(database, stores, both.glance.database, apply=False).metadefs
    assert both.namespaces("ours") == {}
    report = adopt.adopt(database, stores, both.glance.database, apply=True).metadefs
    assert (report, report.taken, report.problems) == (before, 3, [])
    assert differences(plain(both.namespaces("ours")), plain(both.namespaces("glance"))) == []
    kinds = {which: both.get(which, "/v2/metadefs/resource_types")["resource_types"] for which in both.urls}
    assert {one["name"] for one in kinds["glance"]} <= {one["name"] for one in kinds["ours"]}
    again = adopt.adopt(database, stores, both.glance.database, apply=True).metadefs
    assert (again.taken, again.known) == (0, 3)
    database.close()


def _stores(folder: Path) -> Stores:
    options = FileOptions(id="main", directories=[FileDirectory(path=folder / "main")])
    return Stores.configured([options], "main", DriverContext())
