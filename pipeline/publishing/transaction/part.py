"""Carry the steps of a plan out on one image on its way to be the newest of its chain.

At every point the cloud's records alone say how far it got, so that a later run, on this machine or another, goes on
or cleans up. What consumers get changes in one request: the one that makes the new image the newest.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pipeline.base.errors import PipelineError
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import CloudConflict, CloudError, CloudForbidden
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.records import Deletion
from pipeline.publishing.plan.chain_state import ReconcileAction
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.observe import ObservedPart
from pipeline.publishing.plan.steps import Act, PlannedAct
from pipeline.publishing.transaction import upload
from pipeline.publishing.transaction.ledger import Ledger
from pipeline.publishing.transaction.members import share
from pipeline.publishing.transaction.readback import ReadBack, read_back
from pipeline.signing.trust.certificates import CertificateSource

_CLAIMS = 24
_STAGES = {
    Act.UPLOAD: "upload",
    Act.COPY: "upload",
    Act.IMPORT: "upload",
    Act.CHECK: "read back",
    Act.SWITCH: "switch",
    Act.RETIRE: "retire",
}


class StalePlan(CloudError):
    """Another run added an image to the chain since this one's plan was made."""


@dataclass
class PartTransaction:
    """One part while a plan is carried out.

    ``record`` is the image that becomes, or is, the newest. ``read`` and ``waiting`` tell afterwards what was read
    back, and which members still have to accept the image; ``changed`` which fields of its record were, ``back`` what
    undoes that.
    """

    seen: ObservedPart
    ledger: Ledger
    certificates: CertificateSource
    progress: Progress = nothing
    record: ImageRecord | None = None
    shown: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    read: list[ReadBack] = field(default_factory=list)
    waiting: tuple[str, ...] = ()
    changed: list[str] = field(default_factory=list)
    back: RecordPatch | None = None

    @property
    def desired(self) -> DesiredImage:
        """The image that should be the newest."""
        return self.seen.desired

    @property
    def is_newest(self) -> bool:
        """Whether consumers have the image already, so that at most its record and its copies change."""
        return self.seen.observed.action is ReconcileAction.REFRESH

    def link(self, name: str, image: str) -> None:
        """Have the record name another image, which has its id by now."""
        desired = replace(self.desired, properties={**self.desired.properties, name: image})
        self.seen = replace(self.seen, desired=desired)

    def carry_out(self, step: PlannedAct) -> None:
        """Do one step. Raises ``PipelineError`` when it cannot be done; ``undo`` says what is to be taken back."""
        with self._timed(_STAGES.get(step.act)):
            if step.act is Act.CREATE:
                self.record = self._create(step)
                return
            image = step.image or (self.record.id if self.record else "")
            with self.ledger.step(step, image, **_detail(step)):
                self._do(step, image)

    def _do(self, step: PlannedAct, image: str) -> None:
        match step.act:
            case Act.GO_ON:
                self.record = step.record
                self._check_visibility()
            case Act.UPLOAD | Act.COPY | Act.IMPORT:
                self.record = upload.carry_out(step, self.ledger.api, self._there(), self.desired, self.progress)
                self.changed += [f"copy in {store}" for store in step.stores] if self.is_newest else []
            case Act.CHECK:
                self._check(step)
            case Act.HOLD:
                self.record = self.ledger.change(image, step, self.seen.context)
            case Act.CHANGE | Act.SHARE | Act.SWITCH:
                with self._visibility_explained():
                    self._show(step, image)
            case Act.RETIRE | Act.RESTORE:
                self.ledger.change(image, step, self.seen.context)
            case Act.DISCARD:
                self._discard(image)
            case _:
                raise AssertionError(f"{step.act} is no step of a publication")

    # --- bringing the image there ---

    def _create(self, step: PlannedAct) -> ImageRecord:
        """Make the record, which also keeps every other runner from adding one to the chain."""
        observed, chain = self.seen.observed, self.desired.chain
        serial = max(observed.last_serial, self.ledger.journal.last_serial()) + 1
        identity = chain.image_id(serial)
        newest = max((each.created_at for each in observed.displaced), default=None)
        for _ in range(_CLAIMS):
            detail = {"name": self.desired.dated_name, "serial": serial, "sha512": self.desired.sha512}
            with self.ledger.step(step, identity, **detail):
                document = self.desired.record(identity, serial, self.ledger.journal.run, self.seen.context.runner)
                try:
                    record = self.ledger.api.create(document)
                except CloudConflict:
                    there = self.ledger.api.show(identity)
                    if there is not None and there in self.ledger.api.owners and there.belongs_to(chain):
                        raise StalePlan(f"another run has just added image {there.id}") from None
                    # Of a deleted image, or somebody else's: such an id is never free again.
                    identity = str(uuid.uuid4())
                    continue
                self.record = record
                if newest is None or record.created_at > newest:
                    self._check_visibility()
                    return record
            # The same second as its forerunner: whoever sorts by age could not tell which is the newest.
            self.discard(record, "made in the same second as the newest image")
            self.record = None
            self.ledger.api.retry_policy.sleep(1.0)
            serial += 1
            identity = chain.image_id(serial)
        raise CloudError(
            f"cloud {self.ledger.api.cloud} gives no id for a new image of {self.desired.name}, "
            "or its clock stands still"
        )

    def _check_visibility(self) -> None:
        """Find out before gigabytes are sent whether this user may show the image as asked.

        The record is hidden and empty; nobody can get anything from it meanwhile.
        """
        record = self._there()
        if record.is_active or self.desired.visibility not in ("public", "community"):
            return
        with self._visibility_explained():
            self.ledger.api.patch(record.id, RecordPatch({"visibility": self.desired.visibility}))
        self.ledger.api.patch(record.id, RecordPatch({"visibility": "private"}))

    def _check(self, step: PlannedAct) -> None:
        """Read the image back from every store, then mark it as verified, where it is not the newest already.

        A service that does not say which store its bytes are from is read once: more readings would prove no more.
        Where none was chosen, any store that was read will do.
        """
        record, api = self._there(), self.ledger.api
        # A copy that had to be made again was read before it was lost.
        known = set() if self.is_newest else self.ledger.journal.verified_stores(record.id)
        for store in step.stores:
            if "" in known or (store in known if store else known):
                continue
            self.progress.say(f"reading back from {api.cloud}" + (f", store {store}" if store else ""))
            found = read_back(
                api,
                record,
                size=self.desired.size,
                sha512=self.desired.sha512,
                certificates=self.certificates,
                store=store or None,
                progress=self.progress,
            )
            self.read.append(found)
            place = found.store or ""
            known.add(place)
            self.ledger.journal.note("verified", record.id, found.signature, read_from=place, sha512=found.sha512)
        if self.is_newest:
            return
        change = self.desired.described(record)
        state = ImageState.HELD if record.state is ImageState.HELD else ImageState.VERIFIED
        marked = {ownership_marker.STATE: str(state)}
        if not was_verified(record):
            marked[ownership_marker.VERIFIED_AT] = self.seen.context.moment
        self.record = api.patch(record.id, replace(change, properties={**change.properties, **marked}))

    # --- showing it ---

    def _show(self, step: PlannedAct, image: str) -> None:
        api = self.ledger.api
        if step.act is Act.SHARE and step.sharing is not None:
            self.shown = not self.is_newest
            self.waiting = share(api, image, step.sharing)
            self.changed += ["members"] if step.sharing.changes else []
            return
        if step.act is Act.CHANGE and step.record is not None:
            change = self.desired.refreshed(step.record)
            self.changed += [each["path"].removeprefix("/") for each in change.operations(step.record)]
            self.back = change.reversed(step.record)
            self.record = api.patch(image, change)
            return
        self.shown = True
        record = self.record = api.patch(image, self.desired.shown(self.seen.context.moment))
        if not record.is_active:
            raise CloudError(f"image {record.id} on cloud {api.cloud} is {record.status}, not active")

    # --- small acts ---

    def discard(self, record: ImageRecord, why: str) -> None:
        """Delete an image that was never verified, after something went otherwise than planned."""
        with self.ledger.undo("discard", record.id, why):
            self._discard(record.id)

    def _discard(self, image: str) -> None:
        ended = self.ledger.api.delete(image)
        if ended is not Deletion.DELETED:
            self.ledger.journal.note("kept", image, f"cannot be discarded: {ended}")

    def _there(self) -> ImageRecord:
        if self.record is None:
            raise AssertionError("a plan makes an image before it works on it")
        return self.record

    @contextlib.contextmanager
    def _visibility_explained(self) -> Iterator[None]:
        try:
            yield
        except CloudForbidden as error:
            raise PipelineError(
                f"cloud {self.ledger.api.cloud} does not let this user show {self.desired.name} as "
                f"{self.desired.visibility}: {error.message}",
                hint="set publish.visibility in the recipe to private, shared or community, or use a role that may",
            ) from None

    @contextlib.contextmanager
    def _timed(self, stage: str | None) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            if stage:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began


def was_verified(record: ImageRecord) -> bool:
    """Return whether the image's bytes were read back once."""
    return record.state is not None and record.state.was_verified


def _detail(step: PlannedAct) -> dict[str, object]:
    return {"stores": list(step.stores)} if step.act in (Act.UPLOAD, Act.COPY, Act.IMPORT) else {}
