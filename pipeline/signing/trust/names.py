"""Hold the names in certificates against those that an authority is bound to (RFC 5280, 4.2.1.10 and 7.1)."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from cryptography import x509

# Nothing that is not seen makes another name (RFC 4518, 2.2); more of it is told by its category.
_UNSEEN = re.compile("[\u034f\u180b-\u180d\ufe00-\ufe0f\ufffc]")
_NOT_SEEN = ("Cc", "Cf")
_ADDRESS = re.compile(r"[!#-?A-~]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def allows_name(constraints: x509.NameConstraints, subject: x509.Name) -> bool:
    """Return whether an authority with these ``constraints`` may vouch for a directory name."""
    permitted, excluded = _bounds(constraints, x509.DirectoryName)
    if any(is_below(subject, each) for each in excluded):
        return False
    return not permitted or any(is_below(subject, each) for each in permitted)


def allows_address(constraints: x509.NameConstraints, address: str) -> bool:
    """Return whether an authority with these ``constraints`` may vouch for a mail address."""
    permitted, excluded = _bounds(constraints, x509.RFC822Name)
    if not permitted and not excluded:
        return True
    # Of an odd spelling nobody can say where it leads.
    if not is_plain_address(address) or any(is_address_below(address, each) for each in excluded):
        return False
    return not permitted or any(is_address_below(address, each) for each in permitted)


def is_below(subject: x509.Name, subtree: x509.Name) -> bool:
    """Return whether ``subject`` begins with the names of ``subtree``."""
    return [_prepared(each) for each in subject.rdns[: len(subtree.rdns)]] == [_prepared(each) for each in subtree.rdns]


def is_plain_address(address: str) -> bool:
    """Return whether a mail address is spelled so that everybody takes it to lead to the same place."""
    return _ADDRESS.fullmatch(address) is not None


def is_address_below(address: str, subtree: str) -> bool:
    """Return whether a plain address is the mailbox ``a@b.c``, at the host ``b.c``, or in the domain ``.b.c``."""
    local, _, host = address.rpartition("@")
    mailbox, at, domain = subtree.rpartition("@")
    if at and local != mailbox:
        return False
    host, domain = host.lower(), domain.lower()
    return host.endswith(domain) if domain.startswith(".") or not domain else host == domain


def _bounds(constraints: x509.NameConstraints, kind: type[x509.GeneralName]) -> tuple[list[Any], list[Any]]:
    """Return what is permitted and what is excluded of one kind of names."""
    both = constraints.permitted_subtrees or (), constraints.excluded_subtrees or ()
    permitted, excluded = ([each.value for each in trees if isinstance(each, kind)] for trees in both)
    return permitted, excluded


def _prepared(names: x509.RelativeDistinguishedName) -> set[tuple[str, str]]:
    return {(each.oid.dotted_string, _seen(str(each.value))) for each in names}


def _seen(text: str) -> str:
    """Return what of a text counts: neither case nor width of letters, number of blanks, or what is not seen."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = (
        each for each in _UNSEEN.sub("", folded) if each.isspace() or unicodedata.category(each) not in ("Cc", "Cf")
    )
    return " ".join("".join(seen).split())
