"""One image on its way to be the newest of its chain: claimed, uploaded, read back, shown; or taken back.

At every point the cloud's records alone say how far it got, so that a later run, on this machine or another, goes on
or cleans up. What consumers get changes in one request: the one that makes the new image the newest.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing import marks, withdrawal
from pipeline.publishing.carrier import Carrier, CopyNotAllowed
from pipeline.publishing.change import Change
from pipeline.publishing.cloud_errors import (
    CloudError,
    Conflict,
    Contended,
    NotAllowed,
    NotThere,
    WrongBytes,
)
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.image_records import Deletion
from pipeline.publishing.journal import Journal
from pipeline.publishing.marks import State
from pipeline.publishing.members import share
from pipeline.publishing.readback import ReadBack, read_back
from pipeline.publishing.situation import Course, Situation, Viewpoint, look
from pipeline.publishing.wanted import HELD, Wanted, restored, retired
from pipeline.signing.certificates import CertificateSource

_CLAIMS = 24


class Overtaken(CloudError):
    """Another run added an image to the chain since this one looked."""


@dataclass
class ChainPublication:
    """The publication of ``wanted`` in ``stores`` (all of which must hold it; none: the cloud's default), by the import
    ``method`` where one is asked for.

    ``read`` and ``waiting`` tell afterwards what was read back, and which members still have to accept the image.
    """

    api: ImageApi
    wanted: Wanted
    journal: Journal
    view: Viewpoint
    certificates: CertificateSource
    stores: tuple[str, ...] = ()
    method: str = ""
    progress: Progress = nothing
    situation: Situation | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    read: list[ReadBack] = field(default_factory=list)
    waiting: tuple[str, ...] = ()
    _previous: tuple[ImageRecord, ...] = ()
    _current: ImageRecord | None = None

    # --- looking and tidying ---

    def survey(self) -> Situation:
        """Look at what the cloud holds. Raises ``Contended`` when another machine is at work on this chain."""
        with self._timed("survey"):
            records = self.api.images(**self.wanted.chain.filters)
        found = look(self.wanted.chain, records, self.view, self.wanted)
        if found.others_at_work:
            other = found.others_at_work[0]
            raise Contended(
                f"another machine is publishing {self.wanted.name} to cloud {self.api.cloud}: image {other.id}, "
                f"begun {marks.time_text(other.created_at)}",
                hint="let it finish",
            )
        self.situation = found
        return found

    def tidy(self) -> None:
        """Finish what runs that broke off left behind."""
        if withdrawal.unfinished(self._looked()):
            chain, protected = self.wanted.chain, self.wanted.protected
            why = "a withdrawal broke off"
            withdrawal.withdraw(self.api, chain, self.view, self.journal, why=why, protected=protected)
            self.survey()
        situation = self._looked()
        for record in situation.stale_newest:
            self._retire(record, State.SUPERSEDED, "a newer one was shown already when a run broke off")
        for record in situation.leftovers:
            self._discard(record, "its run broke off before it was verified")

    def retire_outdated(self) -> None:
        """Take images off the waiting list that a later build has overtaken."""
        for record in self._looked().outdated:
            self._retire(record, State.SUPERSEDED, "never shown, and overtaken by a later build")

    # --- bringing the image there ---

    def prepare(self) -> ImageRecord:
        """Have the image in the cloud, in every store, verified, and still out of everybody's sight.

        An image that is there already and verified is brought up to date only. On failure nothing unverified is left,
        as far as the cloud still answers.
        """
        situation = self._looked()
        candidate = situation.candidate
        if situation.course is Course.REFRESH and candidate is not None:
            return candidate
        record = self._current = candidate or self._claim()
        try:
            if not record.is_active:
                self._check_visibility(record)
            record = self._transfer(record)
            self._verify(record)
            return self._mark_verified(record)
        except Exception as error:
            # Not always the record this began with.
            self._give_up(self._current, error)
            raise

    def refresh(self, record: ImageRecord) -> tuple[ImageRecord, list[str]]:
        """Bring the newest image's record in line; also return the names of what changed."""
        change = self.wanted.refreshed(record)
        changed = [operation["path"].removeprefix("/") for operation in change.operations(record)]
        with self._visibility_explained():
            if changed:
                self.journal.note("change", record.id, ", ".join(changed))
                record = self.api.change(record.id, change)
            shared = share(self.api, record, self.wanted)
            self.waiting = shared.waiting
            if shared.changed:
                changed.append("members")
        return record, changed

    def hold(self, record: ImageRecord, why: str) -> ImageRecord:
        """Keep a verified image hidden, and write on it why."""
        self.journal.note("hold", record.id, why)
        return self.api.change(
            record.id, Change(properties={marks.STATE: str(State.HELD), marks.HELD_BECAUSE: why[:1000]})
        )

    # --- the switch ---

    def show(self, record: ImageRecord) -> ImageRecord:
        """Make a verified image the newest, in one request; nobody but the members can see it before."""
        situation = self._looked()
        self._previous = tuple(each for each in (situation.newest,) if each is not None and each.id != record.id)
        self.journal.note("switch", record.id, previous=[each.id for each in self._previous])
        with self._timed("switch"), self._visibility_explained():
            self.waiting = share(self.api, record, self.wanted).waiting
            shown = self.api.change(record.id, self.wanted.shown(self.view.moment))
        if not shown.is_active:
            raise CloudError(f"image {record.id} on cloud {self.api.cloud} is {shown.status}, not active")
        return shown

    def retire_previous(self) -> None:
        """Take the image that was the newest before off the stage."""
        with self._timed("retire"):
            for record in self._previous:
                self._retire(record, State.SUPERSEDED, "no longer the newest")

    def take_back(self, record: ImageRecord) -> None:
        """Undo ``show`` and ``retire_previous``: the previous image first, so that there always is one."""
        for previous in self._previous:
            self.journal.note("restore", previous.id, f"{record.id} is taken back")
            self.api.change(previous.id, restored(previous))
        self.journal.note("take back", record.id)
        hidden = {**HELD, "name": self.wanted.dated_name}
        self.api.change(record.id, Change(hidden, {marks.STATE: str(State.VERIFIED)}, frozenset({marks.SWITCHED_AT})))

    # --- stages of prepare ---

    def _claim(self) -> ImageRecord:
        """Make the record, which also keeps every other runner from adding one to the chain."""
        situation = self._looked()
        serial = max(situation.last_serial, self.journal.last_serial())
        for attempt in range(_CLAIMS):
            # Ids of deleted images are never free again; leap further the longer the row of them is.
            serial += 1 << max(0, attempt - 8)
            document = self.wanted.record(serial, self.journal.run, self.view.runner)
            self.journal.note(
                "create", document["id"], self.wanted.dated_name, serial=serial, sha512=self.wanted.sha512
            )
            try:
                record = self.api.create(document)
            except Conflict:
                there = self.api.show(document["id"])
                if there is not None and there.belongs_to(self.wanted.chain):
                    raise Overtaken(f"another run has just added image {there.id}") from None
                continue
            if situation.newest is None or record.created_at > situation.newest.created_at:
                return record
            # The same second as its forerunner: whoever sorts by age could not tell which is the newest.
            self._discard(record, "made in the same second as the newest image")
            self.api.patience.sleep(1.0)
        raise CloudError(
            f"cloud {self.api.cloud} gives no id for a new image of {self.wanted.name}, or its clock stands still"
        )

    def _check_visibility(self, record: ImageRecord) -> None:
        """Find out before gigabytes are sent whether this user may show the image as asked.

        The record is hidden and empty; nobody can get anything from it meanwhile.
        """
        if self.wanted.visibility not in ("public", "community"):
            return
        with self._visibility_explained():
            self.api.change(record.id, Change({"visibility": self.wanted.visibility}))
        self.api.change(record.id, Change({"visibility": "private"}))

    def _transfer(self, record: ImageRecord) -> ImageRecord:
        """Bring the bytes to every store, in the way that this cloud offers and this user may go."""
        carrier = Carrier(self.api, self.wanted, self.stores, self.journal, self.progress, self.method)
        with self._timed("upload"):
            try:
                return carrier.bring(record)
            except CopyNotAllowed:
                self._discard(record, "copies are for administrators here: sent anew, imported to all stores")
                self._current = self._claim()
                return carrier.bring_by_import(self._current)

    def _verify(self, record: ImageRecord) -> None:
        known = self.journal.verified_stores(record.id)
        for store in self.stores or ("",):
            if store in known:
                continue
            self.progress.say(f"reading back from {self.api.cloud}" + (f", store {store}" if store else ""))
            with self._timed("read back"):
                found = read_back(
                    self.api,
                    record,
                    size=self.wanted.size,
                    sha512=self.wanted.sha512,
                    certificates=self.certificates,
                    store=store or None,
                    progress=self.progress,
                )
            self.read.append(found)
            self.journal.note("verified", record.id, found.signature, store=store, sha512=found.sha512)

    def _mark_verified(self, record: ImageRecord) -> ImageRecord:
        change = self.wanted.described(record)
        state = State.HELD if record.state is State.HELD else State.VERIFIED
        marked = {marks.STATE: str(state), marks.VERIFIED_AT: self.view.moment}
        if record.state and record.state.was_verified:
            marked.pop(marks.VERIFIED_AT)
        return self.api.change(record.id, replace(change, properties={**change.properties, **marked}))

    def _give_up(self, record: ImageRecord, error: Exception) -> None:
        """Leave nothing half-published; what cannot be removed now is removed by the next run."""
        self.journal.note("give up", record.id, str(error)[:500])
        was_verified = record.state is not None and record.state.was_verified
        with contextlib.suppress(CloudError):
            if not was_verified:
                self._discard(record, "the publication failed")
            elif isinstance(error, WrongBytes):
                self._retire(record, State.SUPERSEDED, "it does not read back as it should; never shown")

    # --- small acts ---

    def _discard(self, record: ImageRecord, why: str) -> None:
        self.journal.note("discard", record.id, why)
        ended = self.api.delete(record.id)
        if ended is not Deletion.DELETED:
            self.journal.note("kept", record.id, f"cannot be discarded: {ended}")

    def _retire(self, record: ImageRecord, state: State, why: str) -> None:
        self.journal.note("retire", record.id, why)
        change = retired(record, state, self.view.moment, drop_protection=self.wanted.protected)
        with contextlib.suppress(NotThere):  # somebody deleted it: gone is as good
            self.api.change(record.id, change)

    def _looked(self) -> Situation:
        return self.situation or self.survey()

    @contextlib.contextmanager
    def _visibility_explained(self) -> Iterator[None]:
        try:
            yield
        except NotAllowed as error:
            raise PipelineError(
                f"cloud {self.api.cloud} does not let this user show {self.wanted.name} as "
                f"{self.wanted.visibility}: {error.message}",
                hint="set publish.visibility in the recipe to private, shared or community, or use a role that may",
            ) from None

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began
