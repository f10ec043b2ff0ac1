"""Count bytes of unknown number against a project's limits as they come, so that transfers at once cannot pass them."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from pipeline.base.progress import Progress, nothing
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.quotas import QuotaResource, Reservation
from pipeline.imageservice.errors import LimitExceeded
from pipeline.imageservice.service import Service

_AHEAD = 64 << 20  # bytes reserved at most before they come: a transaction for each block would be too many
_SHARE = 4  # near a limit, a part of what is left, since others want of it too


class QuotaWatch:
    """A transfer's progress that reserves what comes. ``reservation``: what is counted already; it grows."""

    def __init__(
        self,
        service: Service,
        reservation: Reservation,
        project: str | None,
        *,
        staged: bool,
        copies: int = 0,
        begin: int = 0,
        check: Callable[[Connection], object] = lambda connection: None,
        further: Progress = nothing,
    ) -> None:
        """``project``: whose limits hold; the plain quota is that of the reservation's own. ``staged``: the bytes are
        for staging; ``copies`` of them are to be stored from there, where that is known. ``begin``: bytes that had come
        before. ``check``: raises when there is nothing to count for any more. ``further``: is told as well.
        """
        self._service, self._reservation, self._check, self._further = service, reservation, check, further
        self._project, self._staged, self._copies, self._begin = project, staged, copies, begin
        self._quota, self._limits = service.storage_quota, service.limits.of(project)
        self._counted = reservation.staged if staged else reservation.stored

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Reserve as ``done`` bytes have come. Raises ``LimitExceeded``, and what ``check`` raises."""
        if unit == "B" and (self._quota or self._limits) and self._begin + done > self._counted:
            self._counted += self._service.database.write(lambda connection: self._grow(connection, self._begin + done))
        self._further.advance(done, total, unit)

    def say(self, text: str) -> None:
        """Pass it on."""
        self._further.say(text)

    def _grow(self, connection: Connection, done: int) -> int:
        """Reserve up to ``done`` and somewhat ahead; how much that was."""
        self._check(connection)
        needed = done - self._counted
        room = self._room(connection)
        if room is not None and needed > room:
            raise LimitExceeded(
                f"The data will exceed what project {self._project} may bring: "
                f"{max(0, room)} bytes remaining after {self._counted} bytes of this image"
            )
        ahead = _AHEAD if room is None else min(_AHEAD, (room - needed) // _SHARE)
        come = needed + ahead
        more = {"staged": come, "stored": come * self._copies} if self._staged else {"stored": come}
        self._reservation = quotas.grow(connection, self._reservation, **more)
        return come

    def _room(self, connection: Connection) -> int | None:
        """How many further bytes may come, by the limit and the quota that hold."""
        resource = QuotaResource.STAGE if self._staged else QuotaResource.SIZE
        elsewhere = (self._project or "") != self._reservation.project  # then the usage does not hold what came so far
        found = []
        limit = quotas.room(connection, self._project, self._limits, resource)
        if limit is not None:
            found.append(limit - self._counted if elsewhere else limit)
        quota = quotas.room_of_bytes(connection, self._reservation.project, self._quota)
        if quota is not None and self._staged and not self._copies:
            quota -= self._counted  # what is staged only does not count under this quota, but cannot be kept beyond it
        if quota is not None:
            found.append(quota // max(1, self._copies))
        return min(found, default=None)
