"""Send the bytes of an upload: read again from the start each time the request has to be sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud.http import BLOCK


class FileBody:
    """A file as a request's body. Its length is known, so that it travels unchunked and a cut shows.

    An open file would not do: when the session renews an expired token and sends the request again, the file would
    stand at its end and an empty image would be uploaded.
    """

    def __init__(self, path: Path, size: int, progress: Progress = nothing) -> None:
        self._path = path
        self._size = size
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        with self._path.open("rb") as file:
            while block := file.read(BLOCK):
                sent += len(block)
                if sent > self._size:
                    break
                yield block
                self._progress.advance(sent, self._size)
        if sent != self._size:
            raise PipelineError(f"{self._path} changed while it was being uploaded: it is not {self._size} bytes long")
