"""Tell whose images are ours: those that the publisher's project owns, and former ones that the operator names.

Nothing else is needed or enough. Names, marks and ids are words that any member of a cloud can write on an image of its
own; the owner of an image is what the cloud itself says.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.publishing.cloud.record import ImageRecord


@dataclass(frozen=True)
class Owners:
    """The publisher's ``project`` on a cloud, ``None`` as long as nobody told it, and the ``former`` ones.

    ``are_nobodys``: the service knows no projects, so that what it makes has no owner; ours is what has none there.
    ``is_remembered``: the project is that of records made from here before; enough to show something, not to change it.
    """

    project: str | None = None
    former: tuple[str, ...] = ()
    are_nobodys: bool = False
    is_remembered: bool = False

    @property
    def are_known(self) -> bool:
        """Whether it can be told whose an image is."""
        return self.project is not None or self.are_nobodys

    @property
    def all(self) -> tuple[str, ...]:
        """Every project whose images are ours, the publisher's own first."""
        if not self.are_known:
            return ()
        return tuple(dict.fromkeys(each for each in (self.project, *self.former) if each))

    def __contains__(self, record: ImageRecord) -> bool:
        """Return whether an image is ours."""
        return record.owner in self.all if record.owner else self.are_nobodys
