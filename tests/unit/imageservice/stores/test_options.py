"""The settings of every kind of store: mistakes are told at once, secrets never."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.base import DriverContext
from pipeline.imageservice.stores.errors import BadLocation
from pipeline.imageservice.stores.registry import make_store
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.swift.options import SwiftOptions

HUSH = "hush-hush-secret"
NAME = "5a3c7ff1-3e5c-4b2a-9f57-0d9c3a6d3b11"
S3: dict[str, Any] = {"id": "s3", "type": "s3", "host": "https://s3.example.org", "bucket": "images"}
SWIFT: dict[str, Any] = {"id": "sw", "type": "swift", "auth_url": "https://id.example.org/v3", "user": "service:glance"}


def parse(text: str) -> Settings:
    return Settings.parse(yaml_source.loads(text, name="settings.yaml"))


def s3(**more: Any) -> S3Options:
    return S3Options.model_validate({**S3, "access_key": "AK", "secret_key": HUSH, **more})


def swift(**more: Any) -> SwiftOptions:
    return SwiftOptions.model_validate({**SWIFT, "key": HUSH, **more})


def test_all_mistakes_of_all_stores_are_told_at_once(tmp_path: Path) -> None:
    text = f"""\
stores:
- id: files
  directories: [relative]
- id: more
  directories: [{{path: /srv/images, mount: /mnt}}]
- id: objects
  type: s3
  host: ftp://somewhere
  bucket: "?"
  access_key: AK
  secret_key: {{file: {tmp_path}/missing}}
  part_size: 1
- id: containers
  type: swift
  auth_url: https://user:{HUSH}@id.example.org/v3
  user: glance
  key: {{environment: NO_SUCH_VARIABLE}}
  segments_at_once: 0
- id: blocks
  type: rbd
  ceph_conf: {tmp_path}/ceph.conf
  object_size: 5
- id: web
  type: http
  redirects: -1
  colour: blue
- id: tapes
  type: tape
- id: sheep
  type: sheepdog
- id: files
  type: filesystem
"""
    with pytest.raises(PipelineError) as caught:
        parse(text)
    told = "\n".join(caught.value.details)
    for line, what in (
        (3, "absolute path"),
        (5, "does not lie below"),
        (8, "write the server as"),
        (9, "not a name for a bucket"),
        (11, "cannot be read"),
        (12, "part_size"),
        (15, "without credentials"),
        (17, "no variable NO_SUCH_VARIABLE"),
        (18, "segments_at_once"),
        (21, "there is no file"),
        (22, "power of two"),
        (25, "redirects"),
        (26, "no such option"),
        (27, "no such kind of store"),
        (29, "QEMU, Nova and glance_store have dropped it; copy its images into another store"),
        (31, "filesystem is called file here"),
    ):
        assert any(f":{line}:" in one and what in one for one in caught.value.details), (line, what, told)
    assert HUSH not in told


def test_secrets_come_from_text_files_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(f"{HUSH}\n")
    monkeypatch.setenv("STORE_KEY", HUSH)
    for given in (HUSH, {"file": str(tmp_path / "key")}, {"environment": "STORE_KEY"}):
        assert s3(secret_key=given).secret_key.read() == HUSH
    (tmp_path / "key").write_text("renewed")
    kept = s3(secret_key={"file": str(tmp_path / "key")})
    (tmp_path / "key").write_text("renewed again")
    assert kept.secret_key.read() == "renewed again"


@pytest.mark.parametrize("given", ["", {"file": "/dev/null"}, {}, {"value": HUSH, "environment": "HOME"}])
def test_a_secret_has_one_source_that_holds_something(given: Any) -> None:
    with pytest.raises(ValueError) as caught:
        s3(secret_key=given)
    assert "secret_key" in str(caught.value)


def test_a_secret_is_never_printed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for options in (s3(), swift()):
        store = make_store(options, DriverContext())
        shown = [
            repr(options),
            str(options),
            json.dumps(options.model_dump(mode="json")),
            repr(store),
            repr(vars(store)),
        ]
        shown += [json.dumps(store.properties(), default=str), caplog.text]
        assert not [text for text in shown if HUSH in text]


def test_a_mistake_beside_a_secret_does_not_show_it() -> None:
    text = f"stores:\n- {{id: s3, type: s3, host: x, bucket: y, access_key: a, secret_key: [{HUSH}]}}\n"
    with pytest.raises(PipelineError) as caught:
        parse(text)
    assert HUSH not in str(caught.value) + "".join(caught.value.details)


def test_a_reference_file_gives_the_account(tmp_path: Path) -> None:
    file = tmp_path / "glance-swift.conf"
    file.write_text(f"[ref1]\nauth_version = 3\nauth_address = https://id.example.org/v3\nuser = s:g\nkey = {HUSH}\n")
    options = SwiftOptions.model_validate({"id": "sw", "reference_file": str(file)})
    assert (options.user, options.auth_url) == ("s:g", "https://id.example.org/v3")
    assert options.key is not None
    assert options.key.read() == HUSH
    assert HUSH not in repr(options)
    for wrong in ({"reference": "ref2"}, {"reference_file": str(tmp_path / "none")}):
        with pytest.raises(ValueError, match="reference_file"):
            SwiftOptions.model_validate({"id": "sw", "reference_file": str(file), **wrong})


@pytest.mark.parametrize(
    ("options", "uri", "canonical"),
    [
        (s3(), f"s3+https://AK:{HUSH}@s3.example.org/images/{NAME}", f"s3+https://s3.example.org/images/{NAME}"),
        (s3(host="http://h:8"), f"s3://AK:{HUSH}@h:8/images/{NAME}", f"s3://h:8/images/{NAME}"),
        (
            swift(),
            f"swift+https://service%3Aglance:{HUSH}@id.example.org/v3/glance/{NAME}",
            f"swift+config://ref1/glance/{NAME}",
        ),
        (swift(), f"swift+config://ref1/glance/{NAME}", f"swift+config://ref1/glance/{NAME}"),
    ],
)
def test_credentials_in_addresses_of_old_are_dropped(options: Any, uri: str, canonical: str) -> None:
    """They must not get into documents, nor into the catalog in the first place."""
    store = make_store(options, DriverContext())
    assert store.canonical(uri) == canonical
    assert store.canonical(canonical) == canonical
    with pytest.raises(BadLocation) as caught:
        store.validate(uri.replace("images", "other").replace("/glance/", "/other/"))
    assert HUSH not in f"{caught.value} {caught.value.detail}"


def test_a_driver_whose_library_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import sys

    from pipeline.imageservice.stores.rbd.options import RbdOptions

    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name in ("rbd", "rados"):
            raise ImportError(f"No module named {name}", name=name)
        return real(name, *rest, **more)

    for module in [name for name in sys.modules if name in ("rbd", "rados") or ".stores.rbd." in name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "ceph.conf").write_text("")
    options = RbdOptions.model_validate({"id": "ceph", "ceph_conf": tmp_path / "ceph.conf"})
    with pytest.raises(PipelineError) as caught:
        make_store(options, DriverContext())
    assert "python3-rbd" in f"{caught.value} {caught.value.hint}"
