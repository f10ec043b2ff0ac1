"""Definition files: loaded, written, loaded again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.cli.handlers import metadefs
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.metadefs import definitions, namespaces
from pipeline.imageservice.lifecycle.metadefs import files
from pipeline.imageservice.lifecycle.metadefs.files import Merge
from pipeline.imageservice.model.metadefs import Definition, MetadefNamespace
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings

# As the field's own files are: without visibility, with the word for nobody in particular, with ``required``.
DOCUMENT: dict[str, Any] = {
    "namespace": "Our::Names",
    "display_name": "Namen für alle",
    "protected": True,
    "owner": "admin",
    "resource_type_associations": [{"name": "OS::Nova::Flavor", "prefix": "hw:"}],
    "properties": {"cores": {"title": "Cores", "type": "integer", "minimum": 1, "default": 2}},
    "objects": [{"name": "pair", "required": ["a"], "properties": {"a": {"title": "A", "type": "string"}}}],
    "tags": [{"name": "b"}, {"name": "a"}],
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service.from_settings(Settings(folder=tmp_path / "service"))
    migrate.upgrade(service.database)
    yield service
    service.database.close()


def written(folder: Path, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    document = {**DOCUMENT, **more}
    file = folder / f"{document['namespace'].replace('::', '-')}.json"
    file.write_text(json.dumps(document))
    return file


def found(service: Service, name: str = "Our::Names") -> tuple[MetadefNamespace, dict[str, Definition]]:
    with service.database.read() as connection:
        namespace = namespaces.find(connection, name)
        assert namespace is not None
        return namespace, {one.name: one for one in definitions.of_namespace(connection, namespace.id)}


def test_what_was_exported_loads_to_the_same(service: Service, tmp_path: Path) -> None:
    written(tmp_path / "in")
    written(tmp_path / "in", namespace="a b ü😀" * 13, owner="a-project", visibility="private")
    written(tmp_path / "in", namespace="Our:Names", properties={})
    assert len(files.load(service, tmp_path / "in").created) == 3
    namespace, contents = found(service)
    assert (str(namespace.visibility), namespace.owner) == ("public", None)
    assert contents["pair"].document["required"] == ["a"]
    first = files.export(service, tmp_path / "one")
    assert len({file.name for file in first}) == 3
    assert files.unload(service) == 3
    assert files.export(service, tmp_path / "none") == []
    assert files.load(service, tmp_path / "one").mistakes == []
    second = files.export(service, tmp_path / "two")
    assert [file.name for file in first] == [file.name for file in second]
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


@pytest.mark.parametrize(
    ("merge", "title", "names"),
    [
        (Merge.SKIP, "Cores", ["a", "b", "cores", "pair"]),
        (Merge.ADD_MISSING, "Cores", ["a", "b", "c", "cores", "more", "pair"]),
        (Merge.PREFER_NEW, "New", ["a", "b", "c", "cores", "more", "pair"]),
        (Merge.OVERWRITE, "New", ["c", "cores", "more"]),
    ],
)
def test_namespaces_that_exist(service: Service, tmp_path: Path, merge: Merge, title: str, names: list[str]) -> None:
    files.load(service, written(tmp_path / "old"))
    new = {"cores": {"title": "New", "type": "integer"}, "more": {"title": "More", "type": "string"}}
    changed = {"properties": new, "objects": [], "tags": [{"name": "c"}], "display_name": "Changed"}
    report = files.load(service, written(tmp_path / "new", **changed), merge)
    assert (report.skipped if merge is Merge.SKIP else report.merged) == ["Our::Names"]
    namespace, contents = found(service)
    assert sorted(contents) == names
    assert contents["cores"].document["title"] == title
    assert (namespace.display_name == "Changed") is (title == "New")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "it is not a JSON object"),
        ('{"namespace": "Bad", "objects": [{"name": "a"}, {}]}', r"objects\[1\]: name is missing"),
        ('{"namespace": "Bad", "objects": [{"name": "a"}, {"name": "a"}]}', "already exists"),
        ('{"namespace": "Bad", "properties": {"p": {"title": "P"}}}', r"properties\.p: type is missing"),
    ],
)
def test_a_bad_file_is_named_and_nothing_of_it_kept(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    folder = written(tmp_path / "in").parent
    (folder / "bad.json").write_text(text)
    monkeypatch.setattr(metadefs, "_service", lambda _file: service)
    with pytest.raises(PipelineError, match="1 file could not be loaded") as caught:
        metadefs.load("", str(folder), merge=False, prefer_new=False, overwrite=False)
    [detail] = caught.value.details
    assert detail.startswith(f"{folder}/bad.json: ")
    with pytest.raises(PipelineError, match=said):
        raise PipelineError(detail)
    with service.database.read() as connection:
        assert [one.namespace for one in namespaces.everything(connection)] == ["Our::Names"]


def test_nothing_to_load_is_a_mistake(service: Service, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no file or folder"):
        files.load(service, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PipelineError, match=r"no \.json file"):
        files.load(service, tmp_path / "empty")
    written(tmp_path / "full")
    with pytest.raises(PipelineError, match="holds JSON files already"):
        files.export(service, tmp_path / "full")


@pytest.mark.parametrize(("merge", "prefer_new", "overwrite"), [(True, True, True), (False, True, False)])
def test_choices_that_do_not_go_together(merge: bool, prefer_new: bool, overwrite: bool) -> None:
    with pytest.raises(PipelineError, match="--prefer-new and --overwrite"):
        metadefs.load("", "somewhere", merge=merge, prefer_new=prefer_new, overwrite=overwrite)
