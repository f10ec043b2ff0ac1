"""The reference's library of stores with one store, in a process and a Python environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from tests.environments.ceph import ACCESS_KEY as S3_KEY
from tests.environments.ceph import POOL, SECRET_KEY, Ceph
from tests.environments.daemon import scratch
from tests.environments.keystone import PASSWORD, Keystone
from tests.environments.venv import environment

_PROGRAM = CHECKOUT / "tests" / "environments" / "other_stores_program.py"
_BINDINGS = Path("/usr/lib/python3/dist-packages")


class OtherStoreError(PipelineError):
    """The library has refused or failed."""


@dataclass(frozen=True)
class Added:
    """What it says of an image it has taken. ``seconds`` is how long that took, in its process."""

    uri: str
    size: int
    checksum: str
    digest: str
    seconds: float


class OtherStore:
    """One store of the reference's library."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def add(self, image: str, file: Path, *, size: int | None = None) -> Added:
        """Have it take ``file``. ``size``: what it is told of the file's length."""
        return Added(**self._ask(do="add", image=image, file=str(file), size=size or 0))

    def get(self, uri: str, file: Path | None = None) -> float:
        """Have it write the image to ``file``, or read it for nothing; how many seconds that took."""
        return cast(float, self._ask(do="get", uri=uri, file=str(file) if file else None)["seconds"])

    def delete(self, uri: str) -> float:
        """Have it delete the image; how many seconds that took."""
        return cast(float, self._ask(do="delete", uri=uri)["seconds"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("started without pipes")
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise OtherStoreError("the other library's process has ended; its standard error says why")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise OtherStoreError(answer["error"])
        return answer


@contextlib.contextmanager
def glance_store(kind: str, settings: Mapping[str, object]) -> Iterator[OtherStore]:
    """Run it with one store of ``kind`` (file, s3, swift, rbd), set up with the library's own options."""
    programs = environment("glance-store")
    with scratch("glance-store") as folder:
        # Bindings of the distribution that no package index has, and nothing else of the distribution's.
        for binding in [*_BINDINGS.glob("rbd.*.so"), *_BINDINGS.glob("rados.*.so")]:
            (folder / binding.name).symlink_to(binding)
        lines = [
            "[DEFAULT]", f"enabled_backends = oracle:{kind}", "[glance_store]", "default_backend = oracle", "[oracle]"
        ]  # fmt: skip
        conf = folder / "oracle.conf"
        conf.write_text("\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items()), ""]))
        child = subprocess.Popen(
            [programs.python, "-P", _PROGRAM, conf],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"},
        )
        with child:
            try:
                yield OtherStore(child)
            finally:
                child.kill()


def file_settings(folder: Path) -> dict[str, object]:
    """A store of files."""
    return {"filesystem_store_datadir": folder, "filesystem_thin_provisioning": True}


def s3_settings(url: str, bucket: str) -> dict[str, object]:
    """A store in the Ceph gateway at ``url``. The bucket has to be there."""
    return {
        "s3_store_host": url,
        "s3_store_access_key": S3_KEY,
        "s3_store_secret_key": SECRET_KEY,
        "s3_store_bucket": bucket,
        "s3_store_bucket_url_format": "path",
        "s3_store_large_object_size": 5,
        "s3_store_large_object_chunk_size": 5,
    }


def swift_settings(folder: Path, keystone: Keystone, container: str, *, segment: int = 1) -> dict[str, object]:
    """A store in the Swift that ``keystone`` knows; ``segment`` in units of 1,024,000 bytes, as the library counts."""
    return {
        "swift_store_config_file": swift_reference(folder, keystone),
        "default_swift_reference": "ref1",
        "swift_store_container": container,
        "swift_store_create_container_on_put": True,
        "swift_store_large_object_size": segment,
        "swift_store_large_object_chunk_size": segment,
    }


def swift_reference(folder: Path, keystone: Keystone) -> Path:
    """A file that says where and as whom to log in, which both sides understand."""
    file = folder / "swift-reference.conf"
    lines = ["[ref1]", "auth_version = 3", f"auth_address = {keystone.url}", "user = service:glance"]
    file.write_text("\n".join([*lines, f"key = {PASSWORD}", ""]))
    return file


def rbd_settings(ceph: Ceph) -> dict[str, object]:
    """A store in the cluster's pool of images."""
    return {
        "rbd_store_pool": POOL,
        "rbd_store_user": "glance",
        "rbd_store_ceph_conf": ceph.glance_conf,
        "rbd_thin_provisioning": True,
    }
