"""The settings file: every option documented, every mistake named with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.imageservice.settings import FILE_NAME, Settings


def parse(text: str) -> Settings:
    return Settings.parse(yaml_source.loads(text, name="settings.yaml"))


def test_without_a_file_it_is_the_embedded_service(home: Home) -> None:
    settings = Settings.load()
    assert settings.is_embedded
    assert settings.folder == home.service
    assert settings.database_url == f"sqlite:///{home.service}/catalog.db"
    assert settings.address == ("127.0.0.1", 9292)
    assert [store.id for store in settings.all_stores] == ["main", "mirror"]
    assert settings.identity.kind == "static"


def test_the_file_in_the_services_folder_is_read(home: Home) -> None:
    home.service.mkdir(parents=True)
    (home.service / FILE_NAME).write_text("listen: '[::1]:19292'\n")
    assert Settings.load().address == ("::1", 19292)


def test_an_empty_file_is_fine() -> None:
    assert parse("").is_embedded
    assert parse("# nothing\n").is_embedded


def test_every_mistake_is_named_with_its_line() -> None:
    with pytest.raises(PipelineError) as caught:
        parse(
            "listne: 127.0.0.1:9292\n"
            "database:\n"
            "  connections: many\n"
            "identity:\n"
            "  kind: static\n"
            "  tokens:\n"
            "    - name: one\n"
            "      roles: admin\n"
            "quotas:\n"
            "  user_storage: much\n"
            "stores:\n"
            "  - id: os_glance_x\n"
            "    directories: [/srv/a]\n"
        )
    error = caught.value
    assert error.message.startswith("settings.yaml: 5 mistakes")
    locations = {text.partition(": ")[0] for text in error.details}
    assert locations == {f"settings.yaml:{line}" for line in (1, 3, 8, 10, 12)}
    assert any("listne: there is no such option" in text for text in error.details)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("identity: {kind: none}\nlisten: 0.0.0.0:9292\n", "may not listen on 0.0.0.0"),
        ("identity: {kind: none}\nlisten: example.org:9292\n", "only on loopback"),
        ("default_store: other\n", "there is no store 'other', only main, mirror"),
        ("stores:\n- {id: a, directories: [/a]}\n- {id: a, directories: [/b]}\n", "'a' is given twice"),
        ("folder: [a]\n", "folder: Input is not a valid path"),
        ("[]\n", "mapping of names to values"),
        ("a: 1\na: 2\n", "given twice"),
    ],
)
def test_what_does_not_fit_together(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("listen", ["127.0.0.1:9292", "localhost:1", "[::1]:9292", "127.5.5.5:80"])
def test_no_identity_on_loopback(listen: str) -> None:
    assert parse(f"identity: {{kind: none}}\nlisten: '{listen}'\n").identity.kind == "none"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no such file"):
        Settings.load(tmp_path / "missing.yaml")


def test_secrets_are_not_shown() -> None:
    settings = parse(
        "database: {url: 'postgresql://u:hush-hush@h/n'}\nidentity: {kind: static, tokens: [{token: hidden-one}]}\n"
    )
    assert "hush-hush" not in repr(settings)
    assert "hidden-one" not in repr(settings)
    assert "hush-hush" in settings.database_url


def _models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for inner in _inner(field.annotation):
            yield from _models(inner, seen)


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inner(part)


def test_every_option_is_documented_and_closed() -> None:
    models = list(_models(Settings, set()))
    assert len(models) > 12
    for model in models:
        assert model.model_config.get("extra") == "forbid", model
        assert model.__doc__, model
        for name, field in model.model_fields.items():
            assert field.description or name == "kind" or name == "type", f"{model.__name__}.{name} has no description"


@pytest.mark.parametrize("word", ["off", "warn", "refuse"])
def test_the_word_off_is_no_truth(word: str) -> None:
    """YAML reads it as one."""
    source = yaml_source.loads(f"metadefs: {{validate: {word}}}\nquotas: {{source: off}}\n", name="settings.yaml")
    settings = Settings.parse(source)
    assert (settings.metadefs.validation, settings.quotas.source) == (word, "off")


def test_other_words_are_refused() -> None:
    with pytest.raises(PipelineError) as error:
        Settings.parse(yaml_source.loads("metadefs: {validate: on}", name="settings.yaml"))
    assert "metadefs.validate" in error.value.details[0] and "'off', 'warn' or 'refuse'" in error.value.details[0]


@pytest.mark.parametrize("value", ["0", "-1", "0.5", "100000", ".nan", ".inf", "often"])
def test_intervals_that_make_no_sense(value: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(f"database: {{scrub_interval: {value}}}")
    assert "database.scrub_interval: " in caught.value.details[0]


@pytest.mark.parametrize("value", ["all", "INFO", "10", ""])
def test_levels_of_the_log_that_do_not_exist(value: str) -> None:
    with pytest.raises(PipelineError) as caught:
        parse(f"log_level: {value}")
    assert "log_level: " in caught.value.details[0]


def test_uploads_may_pause_as_long_as_clients_expect() -> None:
    assert Settings().server.idle_timeout == 900
    assert parse("server: {idle_timeout: 60}").server.idle_timeout == 60


PATHS = {
    "a TLS certificate": "server: {tls: {certificate: X, key: X}}",
    "an authority": "imports: {download: {ca_file: X}}",
    "a store's authority": "stores: [{id: s, type: s3, host: https://x, bucket: images, access_key: a, "
    "secret_key: b, ca_file: X}]",
    "a store's secret": "stores: [{id: s, type: s3, host: https://x, bucket: images, secret_key: b, "
    "access_key: {file: X}}]",
    "Ceph's settings": "stores: [{id: c, type: rbd, ceph_conf: X}]",
    "Swift's reference": "stores: [{id: o, type: swift, reference_file: X}]",
}


@pytest.mark.parametrize("text", PATHS.values(), ids=PATHS)
def test_a_relative_path_lies_in_the_services_folder(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    (folder / "etc").mkdir(parents=True)
    content = "[ref1]\nauth_address = https://x.example/v3\nuser = a:b\nkey = c\n"
    (folder / "etc" / "file").write_text(content)
    file = tmp_path / "settings.yaml"
    file.write_text(f"folder: {folder}\n{text.replace('X', 'etc/file')}\n")
    shown = repr(Settings.load(file).model_dump())
    assert "PosixPath('etc/file')" not in shown
    file.write_text(f"folder: service\n{text.replace('X', 'etc/file')}\n")  # itself beside the settings
    assert Settings.load(file).folder == folder
    file.write_text(f"folder: {folder}\n{text.replace('X', 'etc/none')}\n")
    with pytest.raises(PipelineError) as caught:
        Settings.load(file)
    assert str(folder / "etc" / "none") in str(caught.value) or "etc/none" in str(caught.value)
    assert "settings.yaml:2" in str(caught.value)


def test_a_relative_database_lies_in_the_services_folder(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("folder: service\ndatabase: {url: 'sqlite:///own.db'}\n")
    assert Settings.load(file).database_url == f"sqlite:///{tmp_path}/service/own.db"
    file.write_text("folder: service\ndatabase: {url: 'sqlite:////srv/own.db'}\n")
    assert Settings.load(file).database_url == "sqlite:////srv/own.db"
