"""Write and read objects of an S3 store.

A small object is one PUT. A larger one is a multipart upload, which nobody sees until it is completed. Since S3 tells
nothing of an unfinished upload but its key and when it began, a small object next to it, ``.partial.ATTEMPT.NAME``,
says which attempt it belongs to and is removed with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pipeline.imageservice.stores.base import Reader, StoredObject, Writer
from pipeline.imageservice.stores.budget import Budget
from pipeline.imageservice.stores.errors import ObjectExists, ObjectMissing, StoreDamaged, StoreError, StoreFull
from pipeline.imageservice.stores.multipart import MultipartUpload
from pipeline.imageservice.stores.s3.errors import body_errors, code, s3_errors
from pipeline.imageservice.stores.s3.options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_MIB = 1 << 20
_MOST_PARTS = 10_000
# What servers answer that don't know the condition If-None-Match.
_NO_CONDITIONS = {"NotImplemented", "InvalidArgument", "InvalidRequest", "501"}


def marker_key(attempt: str, name: str) -> str:
    """Return the key of the object that tells which attempt an unfinished upload belongs to."""
    return f".partial.{attempt}.{name}"


def part_size(options: S3Options, size: int | None) -> int:
    """Return bytes of a part for an object of ``size`` bytes: no object may have more than 10,000 parts."""
    least = 0 if size is None else -(-size // _MOST_PARTS)
    return max(options.part_size, -(-least // _MIB) * _MIB)


class S3Writer(Writer):
    """Writes one object. ``attempt`` is kept with it, so that ``undo`` removes no later one's work."""

    def __init__(
        self,
        options: S3Options,
        client: S3Client,
        budget: Budget,
        stored: Callable[[str, int], StoredObject],
        name: str,
        size: int | None,
        attempt: str,
    ) -> None:
        self._options, self._client, self._stored = options, client, stored
        self._name, self._attempt = name, attempt
        self._upload: str | None = None
        self._parts: list[CompletedPartTypeDef] | None = None
        self._whole: bytearray | None = None
        self._pieces = MultipartUpload(part_size(options, size), options.parts_at_once, self._send, budget, size)

    def write(self, data: memoryview) -> None:
        """See ``Writer.write``."""
        if self._upload is None and self._pieces.total + len(data) > self._pieces.size:
            self._begin()
        self._pieces.add(data)

    def commit(self, *, replace: bool = False) -> StoredObject:
        """See ``Writer.commit``.

        Where the server knows conditional writes, two writers of one name cannot both succeed.
        """
        with s3_errors(self._options.id, writing=True):
            if not replace and self._holder() is not None:
                raise ObjectExists(f"store {self._options.id} holds an image of this id already")
            if self._upload is not None:
                self._complete(self._upload, replace)
            else:
                self._put(replace)
        self._pieces.close()
        return self._stored(self._name, self._pieces.total)

    def abort(self) -> None:
        """See ``Writer.abort``."""
        self._pieces.close()
        if self._upload is not None:
            with contextlib.suppress(StoreError), s3_errors(self._options.id):
                end_upload(self._client, self._options.bucket, self._name, self._upload)
                self._unmark()

    def undo(self) -> None:
        """See ``Writer.undo``."""
        with s3_errors(self._options.id):
            if self._holder() == self._attempt:
                self._client.delete_object(Bucket=self._options.bucket, Key=self._name)

    def _begin(self) -> None:
        bucket, mark = self._options.bucket, marker_key(self._attempt, self._name)
        with s3_errors(self._options.id, writing=True):
            begun = self._client.create_multipart_upload(
                Bucket=bucket, Key=self._name, Metadata={"attempt": self._attempt}
            )
            self._upload = begun["UploadId"]
            self._client.put_object(Bucket=bucket, Key=mark, Body=self._upload.encode())

    def _send(self, number: int, piece: bytearray) -> CompletedPartTypeDef:
        if self._upload is None:
            raise RuntimeError("a part without an upload")
        if number > _MOST_PARTS:
            raise StoreFull(
                f"store {self._options.id} takes at most {_MOST_PARTS * self._pieces.size} bytes of unannounced length",
                hint="send the image's size with the upload",
            )
        with s3_errors(self._options.id, writing=True):
            sent = self._client.upload_part(
                Bucket=self._options.bucket,
                Key=self._name,
                PartNumber=number,
                UploadId=self._upload,
                Body=piece,  # type: ignore[arg-type]  # the stubs have not heard of bytearray
            )
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def _complete(self, upload: str, replace: bool) -> None:
        self._parts = self._parts or self._pieces.finish()
        self._unless_taken(
            self._client.complete_multipart_upload,
            replace,
            Key=self._name,
            UploadId=upload,
            MultipartUpload={"Parts": self._parts},
        )
        self._unmark()
        self._upload = None

    def _put(self, replace: bool) -> None:
        self._whole = self._pieces.whole() if self._whole is None else self._whole
        self._unless_taken(
            self._client.put_object, replace, Key=self._name, Body=self._whole, Metadata={"attempt": self._attempt}
        )

    def _unless_taken(self, call: Callable[..., Any], replace: bool, **arguments: Any) -> None:
        """Make an object appear, on the condition that there is none of its name unless it is to be replaced."""
        condition = {} if replace else {"IfNoneMatch": "*"}
        try:
            call(Bucket=self._options.bucket, **arguments, **condition)
        except ClientError as error:
            if replace or code(error) not in _NO_CONDITIONS:
                raise
            call(Bucket=self._options.bucket, **arguments)

    def _holder(self) -> str | None:
        """Return the attempt that made the object of this name, empty where none of ours did; ``None``: no object."""
        try:
            with s3_errors(self._options.id):
                head = self._client.head_object(Bucket=self._options.bucket, Key=self._name)
        except ObjectMissing:
            return None
        return head["Metadata"].get("attempt", "")

    def _unmark(self) -> None:
        self._client.delete_object(Bucket=self._options.bucket, Key=marker_key(self._attempt, self._name))


class S3Reader(Reader):
    """The body of one answer."""

    def __init__(self, store: str, body: Any, length: int) -> None:
        self._store, self._body = store, body
        self.length = self._left = length

    def read(self, size: int) -> bytes:
        """See ``Reader.read``."""
        if self._left == 0:
            return b""
        with body_errors(self._store):
            data: bytes = self._body.read(min(size, self._left))
        if not data and size > 0:
            raise StoreDamaged(f"store {self._store} holds less of this image than it should")
        self._left -= len(data)
        return data

    def close(self) -> None:
        """See ``Reader.close``. What has not been read is not waited for."""
        if self._body is not None:
            self._body.close()


def end_upload(client: S3Client, bucket: str, name: str, upload: str) -> None:
    """Abort a multipart upload, which may have ended already."""
    try:
        client.abort_multipart_upload(Bucket=bucket, Key=name, UploadId=upload)
    except ClientError as error:
        if code(error) not in ("NoSuchUpload", "404"):
            raise
