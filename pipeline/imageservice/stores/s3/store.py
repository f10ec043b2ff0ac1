"""Store images as objects of an S3 bucket.

An object's key is its name; its address is ``s3://HOST/BUCKET/KEY``, or ``s3+https://…`` over TLS, as glance_store has
it, without credentials.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from pipeline.imageservice.stores.base import (
    NAME,
    Capabilities,
    DriverContext,
    FoundObject,
    IncompleteObject,
    Reader,
    Store,
    StoredObject,
    Writer,
    checked_attempt,
    checked_name,
)
from pipeline.imageservice.stores.errors import BadLocation, ObjectMissing, StoreUnavailable, WriteRefused
from pipeline.imageservice.stores.s3.endpoint import endpoint
from pipeline.imageservice.stores.s3.errors import code, s3_errors
from pipeline.imageservice.stores.s3.io import S3Reader, S3Writer, end_upload, marker_key
from pipeline.imageservice.stores.s3.options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MARK = marker_key("", "").removesuffix(".")  # what every marker's key begins with


class S3Store(Store):
    """One bucket. Its client is made on first use and shared by all threads."""

    type = "s3"
    schemes = ("s3", "s3+https", "s3+http")

    def __init__(self, options: S3Options, context: DriverContext | None = None) -> None:
        super().__init__(options.id, description=options.description, weight=options.weight)
        self.options = options
        self._budget = (context or DriverContext()).budget
        self._lock = threading.Lock()
        self._made: S3Client | None = None
        server = urlsplit(options.host)
        scheme = "s3+https" if server.scheme == "https" else "s3"
        self._host = server.netloc
        self._prefix = f"{scheme}://{server.netloc}/{options.bucket}/"
        self._identity = f"s3:{endpoint(options.host)}/{options.bucket}/"

    @property
    def capabilities(self) -> Capabilities:
        """Everything but holes and files."""
        return Capabilities(writable=not self.options.read_only)

    def properties(self) -> dict[str, object]:
        """Return them as the reference names them."""
        return {
            "s3_store_large_object_size": self.options.part_size >> 20,
            "s3_store_large_object_chunk_size": self.options.part_size >> 20,
            "s3_store_thread_pools": self.options.parts_at_once,
        }

    def check(self) -> None:
        """Check that the bucket is there and ours to use."""
        try:
            with s3_errors(self.id):
                self._client.head_bucket(Bucket=self.options.bucket)
        except ObjectMissing as missing:
            if not self.options.create_bucket or self.options.read_only:
                raise StoreUnavailable(f"store {self.id} has no bucket", detail=missing.detail) from None
            self._create_bucket()

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        """See ``Store.writer``."""
        checked_name(name), checked_attempt(attempt)
        if self.options.read_only:
            raise WriteRefused(f"store {self.id} is read-only")
        return S3Writer(self.options, self._client, self._budget, self._stored, name, size, attempt)

    def reader(self, uri: str, *, offset: int = 0, length: int | None = None) -> Reader:
        """See ``Store.reader``."""
        key = self._key(uri)
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"not a range: {length} bytes from {offset}")
        if length == 0:
            return self._nothing(uri, offset)
        end = "" if length is None else str(offset + length - 1)
        try:
            with s3_errors(self.id), _unsatisfiable():
                if offset == 0 and length is None:
                    answer = self._client.get_object(Bucket=self.options.bucket, Key=key)
                else:
                    answer = self._client.get_object(Bucket=self.options.bucket, Key=key, Range=f"bytes={offset}-{end}")
        except _NoS3Range:
            if length is not None:
                raise ValueError(f"{length} bytes from {offset} do not lie in the object") from None
            return self._nothing(uri, offset)
        reader = S3Reader(self.id, answer["Body"], answer["ContentLength"])
        if length is not None and reader.length != length:
            reader.close()
            raise ValueError(f"{length} bytes from {offset} do not lie in the object")
        return reader

    def size(self, uri: str) -> int:
        """See ``Store.size``."""
        return self._size(self._key(uri))

    def delete(self, uri: str) -> None:
        """See ``Store.delete``. S3 does not say whether there was anything to delete, so this looks first."""
        key = self._key(uri)
        self._size(key)
        with s3_errors(self.id, writing=True):
            self._client.delete_object(Bucket=self.options.bucket, Key=key)

    def find(self, name: str) -> StoredObject | None:
        """See ``Store.find``."""
        try:
            return self._stored(name, self._size(checked_name(name)))
        except ObjectMissing:
            return None

    def validate(self, uri: str) -> None:
        """See ``Store.validate``."""
        self._key(uri)

    def canonical(self, uri: str) -> str:
        """See ``Store.canonical``."""
        return self._prefix + self._key(uri)

    def identify(self, uri: str) -> str:
        """See ``Store.identify``."""
        return self._identity + self._key(uri)

    def identities(self, name: str) -> tuple[str, ...]:
        """See ``Store.identities``."""
        return (self._identity + checked_name(name),)

    def objects(self) -> Iterator[FoundObject]:
        """See ``Store.objects``."""
        with s3_errors(self.id):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.options.bucket):
                for item in page.get("Contents", ()):
                    if NAME.fullmatch(item["Key"]):
                        stored = self._stored(item["Key"], item["Size"])
                        yield FoundObject(item["Key"], stored, item["LastModified"])

    def incomplete(self) -> Iterator[IncompleteObject]:
        """See ``Store.incomplete``. The key is that of the marker, or of the upload itself where it has none."""
        marked = set()
        with s3_errors(self.id):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.options.bucket, Prefix=_MARK)
            for page in pages:
                for item in page.get("Contents", ()):
                    attempt, _, name = item["Key"].removeprefix(_MARK).partition(".")
                    marked.add(self._upload_of(item["Key"]))
                    yield IncompleteObject(name, attempt, item["Key"], item["LastModified"])
            uploads = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.options.bucket)
            for listed in uploads:
                for upload in listed.get("Uploads", ()):
                    if upload["UploadId"] not in marked and NAME.fullmatch(upload["Key"]):
                        # Its writer died between two requests, or it is not ours. No attempt is called so.
                        token = hashlib.sha256(upload["UploadId"].encode()).hexdigest()[:32]
                        yield IncompleteObject(upload["Key"], token, upload["UploadId"], upload["Initiated"])

    def discard(self, what: IncompleteObject) -> None:
        """See ``Store.discard``."""
        with s3_errors(self.id, writing=True):
            if what.key != marker_key(what.attempt, what.name):
                end_upload(self._client, self.options.bucket, what.name, what.key)
                return
            upload = self._upload_of(what.key)
            if upload is not None:
                end_upload(self._client, self.options.bucket, what.name, upload)
                self._client.delete_object(Bucket=self.options.bucket, Key=what.key)

    def close(self) -> None:
        """See ``Store.close``."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    @property
    def _client(self) -> S3Client:
        with self._lock:
            if self._made is None:
                self._made = self._connect()
            return self._made

    def _connect(self) -> S3Client:
        options = self.options
        config = Config(
            s3={"addressing_style": options.addressing},
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            retries={"total_max_attempts": options.attempts, "mode": "standard"},
            max_pool_connections=options.connections,
            # Many servers know no others yet; images have digests of their own.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # A session of its own: the default one is not made for threads, and reads the user's own settings.
        return boto3.session.Session().client(
            "s3",
            endpoint_url=options.host,
            region_name=options.region,
            aws_access_key_id=options.access_key.read(),
            aws_secret_access_key=options.secret_key.read(),
            verify=str(options.ca_file) if options.ca_file else None,
            config=config,
        )

    def _create_bucket(self) -> None:
        with s3_errors(self.id, writing=True):
            if self._host.endswith(".amazonaws.com") and self.options.region != "us-east-1":
                location = {"LocationConstraint": self.options.region}
                self._client.create_bucket(Bucket=self.options.bucket, CreateBucketConfiguration=location)  # type: ignore[arg-type]
            else:
                self._client.create_bucket(Bucket=self.options.bucket)

    def _stored(self, name: str, size: int) -> StoredObject:
        return StoredObject(self._prefix + name, size)

    def _size(self, key: str) -> int:
        with s3_errors(self.id):
            return self._client.head_object(Bucket=self.options.bucket, Key=key)["ContentLength"]

    def _nothing(self, uri: str, offset: int) -> Reader:
        """Return the reader of no bytes at ``offset``, which has to lie in the object or at its end."""
        size = self.size(uri)
        if offset > size:
            raise ValueError(f"byte {offset} does not lie in an object of {size}")
        return S3Reader(self.id, None, 0)

    def _upload_of(self, marker: str) -> str | None:
        try:
            with s3_errors(self.id):
                return self._client.get_object(Bucket=self.options.bucket, Key=marker)["Body"].read().decode()
        except ObjectMissing:
            return None

    def _key(self, uri: str) -> str:
        """Return the key an address means; it has to lie in this store's bucket."""
        scheme, _, rest = uri.partition("://")
        # glance_store of old wrote the keys into the address: they are passed over.
        host, _, key = rest.rpartition("@")[2].partition(f"/{self.options.bucket}/")
        if scheme not in self.schemes or host.rstrip("/") != self._host or not NAME.fullmatch(key):
            raise BadLocation(f"not a location of store {self.id}", detail=f"{scheme}://…/{key}"[:500])
        return key


class _NoS3Range(Exception):
    """The object is shorter than the first byte asked for."""


@contextlib.contextmanager
def _unsatisfiable() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code(error) in ("InvalidRange", "416"):
            raise _NoS3Range from None
        raise
