"""The parts of the scan: needles in streams, packed data, paths, free space, allowances."""

from __future__ import annotations

import base64
import gzip
import io
import lzma
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.signing.scan import disk, paths, registry, unpack
from pipeline.signing.scan.files import FileScan
from pipeline.signing.scan.findings import Allowance, ScanFinding, divide
from pipeline.signing.scan.needles import GENERIC, Hit, Needle, Searcher, known
from pipeline.signing.trust import pem
from pipeline.signing.trust.kinds import KeyKind

SECRET = b"correct horse battery staple"
KEY = pem.write(KeyKind.P384.generate(), None)
# A hash of no password.
HASH = b"$6$abcdefghijklmnop$" + b"x" * 86


def search(data: bytes, needles: Sequence[Needle] = (), cut: int = 1000) -> list[Hit]:
    searcher = Searcher(needles or [*known([SECRET]), *GENERIC])
    found: list[Hit] = []
    for at in range(0, len(data), cut):
        found += searcher.feed(data[at : at + cut])
    return found + list(searcher.finish())


def scanned(
    path: str, data: bytes, cut: int = 70_000, expected_keys: frozenset[str] = frozenset()
) -> list[ScanFinding]:
    scan = FileScan(path, [*known([SECRET]), *GENERIC], expected_keys)
    for at in range(0, len(data), cut):
        scan.feed(data[at : at + cut])
    return scan.finish()


def rules(path: str, data: bytes) -> set[str]:
    return {finding.rule for finding in scanned(path, data)}


@settings(max_examples=60)
@given(
    st.integers(0, 30_000), st.integers(200, 30_000), st.sampled_from([SECRET, KEY, b"root:" + HASH + b":19000:0:::"])
)
def test_a_needle_is_found_once_wherever_it_lies_and_however_the_stream_is_cut(
    at: int, cut: int, needle: bytes
) -> None:
    data = b"." * at + b"\n" + needle + b"\n" + b"." * 20_000
    assert len(search(data, cut=cut)) == 1


@given(st.binary(min_size=8, max_size=60), st.binary(max_size=20), st.binary(max_size=20))
def test_a_known_secret_is_found_in_each_spelling(secret: bytes, before: bytes, after: bytes) -> None:
    needles = list(known([secret]))
    for text in (secret, base64.b64encode(before + secret + after), (before + secret).hex().encode()):
        assert search(b"  " + text + b"  ", needles)
    url_safe = base64.urlsafe_b64encode(before + secret + after)
    assert search(url_safe, needles)


def test_utf16_and_short_secrets() -> None:
    answer = base64.b64encode("hunter2 and moreAdministratorPassword".encode("utf-16-le"))
    found = search(b"<AdministratorPassword><Value>" + answer, list(known([b"hunter2 and more"])))
    assert [hit.needle.what for hit in found] == ["build secret 1, in base64 of UTF-16"]
    assert search(SECRET.hex().upper().encode(), list(known([SECRET])))
    assert search("passwort: äöü geheim!".encode("utf-16-le"), list(known(["äöü geheim!".encode()])))
    with pytest.raises(PipelineError, match="shorter than 8"):
        known([b"short"])


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("private-key", KEY),
        ("private-key", KEY.replace(b"\n", b"\r\n")),
        ("private-key", pem.write(KeyKind.RSA2048.generate(), b"a passphrase for it")),
        ("private-key", KEY.decode().encode("utf-16-le")),
        ("private-key", b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\nPrivate-Lines: 1\r\nAAAA"),
        ("private-key", b"AGE-SECRET-KEY-1" + b"A" * 58),
        ("password-hash", b"\nbackup:" + HASH + b":19000:0:99999:7:::\n"),
        ("password-hash", b"\nroot:!$y$j9T$abcdefghijklmnop$abcdefghijklmnopqrstuvwx:19000:\n"),
        ("answer-file", b"lang C\nrootpw --plaintext hunter2\n"),
        ("answer-file", b"<AdministratorPassword>\n  <Value>aHVudGVyMg==</Value>"),
        ("answer-file", "<AdministratorPassword><Value>aHVudGVy</Value>".encode("utf-16-le")),
        ("answer-file", "<AutoLogon><Password>\r\n <Value>aHVudGVy</Value>".encode("utf-16-le")),
        ("answer-file", b"<AutoLogon><Password><Value>aHVudGVy</Value></Password>"),
        ("answer-file", b"<Credentials><Domain>d</Domain>\n<Password>hunter2</Password><Username>u</Username>"),
        ("token", b"aws_secret_access_key = " + b"A1b2" * 10 + b"\n"),
        ("token", b"token: ghp_" + b"a" * 36),
        ("known-secret", b"x" + SECRET),
    ],
)
def test_contents_of_each_kind(rule: str, text: bytes) -> None:
    assert rules("/opt/x", b"\0" * 5000 + text + b"\0" * 5000) == {rule}


@pytest.mark.parametrize(
    "text",
    [
        b"the file begins with -----BEGIN PRIVATE KEY----- and ends",
        b"$6$ is the prefix of SHA-512",
        b"see rootpw --lock",
        b"<AdministratorPassword><Value>*SENSITIVE*DATA*DELETED*</Value>",
        "<AdministratorPassword><Value>*SENSITIVE*DATA*DELETED*</Value>".encode("utf-16-le"),
        "<Password><Value></Value>".encode("utf-16-le"),
        b"<Credentials><Domain>d</Domain><Password>*SENSITIVE*DATA*DELETED*</Password></Credentials>",
        b"root:*:19000:0:99999:7:::\nbin:!:1:::::\n",
        random.Random(1).randbytes(200_000),
    ],
)
def test_what_only_looks_like_it_is_left_alone(text: bytes) -> None:
    assert rules("/usr/share/doc/x", text) == set()


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("/etc/ssh/ssh_host_rsa_key", b"x", "host-key"),
        ("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n", "machine-id"),
        ("/var/lib/systemd/random-seed", random.Random(2).randbytes(32), "random-seed"),
        ("/root/.bash_history", b"ls\n", "shell-history"),
        ("/home/user/.python_history", b"1\n", "shell-history"),
        ("/Users/A/AppData/Roaming/PSReadLine/ConsoleHost_history.txt", b"x", "shell-history"),
        ("/etc/shadow", b"root::19000:0:::\n", "password-hash"),
        ("/etc/shadow", b"root:" + HASH + b":19000:0:::\n", "password-hash"),
        ("/etc/pki/consumer/cert.pem", b"x", "subscription"),
        ("/var/log/anaconda/program.log", b"x", "answer-file"),
        ("/Windows/Panther/unattend.xml", b"<Password>x</Password>", "answer-file"),
        ("/var/lib/cloud/instances/i-1/user-data.txt", b"x", "cloud-init"),
        ("/var/log/messages", b"x", "log"),
        ("/root/.netrc", b"machine x", "credentials"),
        ("/etc/environment", b"http_proxy=http://user:pass@proxy:3128\n", "credentials"),
        ("/root/.npmrc", b"//registry/:_authToken=abc\n", "credentials"),
        ("/etc/udev/rules.d/70-persistent-net.rules", b"x", "network-identity"),
        ("/etc/iscsi/initiatorname.iscsi", b"InitiatorName=iqn.1994-05.com:abc\n", "network-identity"),
        ("/etc/salt/pki/minion/minion.pub", b"x", "agent-identity"),
        ("/hiberfil.sys", b"x", "memory"),
        ("/root/.ssh/known_hosts", b"x", "ssh-client"),
        ("/root/.ssh/authorized_keys", b"ssh-ed25519 AAAA me\n", "authorized-keys"),
        ("/tmp/left", b"x", "temporary"),
    ],
)  # fmt: skip
def test_paths_of_each_kind(path: str, text: bytes, rule: str) -> None:
    assert rule in rules(path, text)
    # Truncated files are what sysprep leaves; an instance's data counts by being there.
    assert rule == "cloud-init" or rule not in rules(path, b"")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/machine-id", b"uninitialized\n"),
        ("/etc/shadow", b"root:*:1::::::\nbin:!:1::::::\nx:!!:1::::::\n"),
        ("/var/log/lastlog", bytes(30_000)),
        ("/etc/environment", b"http_proxy=http://proxy:3128\n"),
        ("/etc/ssh/ssh_config", b"x"),
        ("/usr/share/doc/machine-id", b"x"),
    ],
)
def test_what_belongs_into_an_image(path: str, text: bytes) -> None:
    assert rules(path, text) == set()


def test_keys_that_the_recipe_names_may_log_in() -> None:
    data = b"# comment\nssh-ed25519 AAAAC3 me@here\n"
    assert scanned("/home/x/.ssh/authorized_keys", data, expected_keys=frozenset({"AAAAC3"})) == []
    two = data + b"ssh-rsa AAAAB3 other\n"
    (finding,) = scanned("/home/x/.ssh/authorized_keys", two, expected_keys=frozenset({"AAAAC3"}))
    assert finding.detail.startswith("1 keys")


def cpio(payload: bytes) -> bytes:
    """Microcode in front of an initramfs, as distributions write it."""
    return b"070701" + b"0" * 104 + b"kernel/x86\0\0" + b"070701" + b"0" * 104 + b"TRAILER!!!\0" + bytes(512) + payload


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "cpio!zstd": lambda data: cpio(zstandard.ZstdCompressor().compress(data)),
    "cpio!gzip": lambda data: cpio(gzip.compress(data)),
    "gzip!xz": lambda data: gzip.compress(lzma.compress(data)),
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("cut", [100, 70_000, 10_000_000])
def test_packed_data_is_looked_into(name: str, cut: int) -> None:
    data = os.urandom(300_000) + SECRET + os.urandom(1000) + KEY
    found = {(finding.path, finding.rule) for finding in scanned("/f", PACKERS[name](data), cut=cut)}
    # Random bytes are stored as they are, so that the packed file may show them too.
    assert {(f"/f!{name}", "known-secret"), (f"/f!{name}", "private-key")} <= found


def test_concatenated_gzip_members() -> None:
    assert scanned("/f", gzip.compress(b"one") + gzip.compress(SECRET))


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_broken_and_endless_packed_data(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PACKERS[name](bytes(5_000_000))
    assert scanned("/f", packed[: len(packed) // 2]) == []
    assert scanned("/f", packed[:20] + b"\xff" * 1000) == []
    monkeypatch.setattr(unpack, "MAX_OUT", 1 << 20)
    scan = FileScan("/f", GENERIC)
    scan.feed(packed)
    scan.finish()
    assert scan.not_covered and "come out of it" in scan.not_covered[0]


@given(st.sampled_from([b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"070701"]), st.binary(max_size=500))
def test_rubbish_never_breaks_the_scan(magic: bytes, data: bytes) -> None:
    scanned("/f", magic + data, cut=7)


def test_free_space_is_searched_and_live_files_are_not_told_twice(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    with raw.open("wb") as file:
        file.truncate(64 << 20)
        for at, data in (
            (5 << 20, b"live " + SECRET),
            (30 << 20, KEY),
            (40 << 20, b"root:" + HASH + b":1:"),
            (63 << 20, KEY),
        ):
            file.seek(at)
            file.write(data)
    needles = [*known([SECRET]), *GENERIC]
    findings, read = disk.scan(raw, needles, set())
    assert {finding.rule for finding in findings} == {"known-secret", "private-key", "password-hash"}
    assert len(findings) == 3  # the same key twice is one finding
    assert read < 1 << 20  # holes are not read
    live = {finding.sha256 for finding in findings if finding.rule == "known-secret"}
    assert {finding.rule for finding in disk.scan(raw, needles, live)[0]} == {"private-key", "password-hash"}
    assert all(SECRET.decode() not in str(finding) for finding in findings)


def test_allowances() -> None:
    found = scanned("/usr/share/doc/key.pem", KEY)
    wrong, allowed = divide(found, [Allowance("private-key", "/usr/share/doc/*", "an example from upstream")])
    assert not wrong and allowed[0][1].reason == "an example from upstream"
    for other in (
        Allowance("private-key", "/etc/*", "elsewhere"),
        Allowance("password-hash", "*", "another rule"),
        Allowance("private-key", "*", "another file", sha256="0" * 64),
    ):
        assert divide(found, [other])[0] == found
    assert not divide(found, [Allowance("private-key", "*", "this very file", sha256=found[0].sha256)])[0]


def test_every_path_rule_is_whole() -> None:
    for rule, pattern in paths._rules():
        assert rule.fix and pattern.pattern
        rule.condition(b"")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<unattend><RunSynchronous/></unattend>", False),
        ("<AdministratorPassword><Value>*SENSITIVE*DATA*DELETED*</Value></AdministratorPassword>", False),
        ("<AdministratorPassword>\r\n<Value></Value></AdministratorPassword>", False),
        ("<AdministratorPassword>\r\n<Value>aA==</Value></AdministratorPassword>", True),
        ("<Credentials><Password>hunter2</Password></Credentials>", True),
        ("<ProductKey><Key>12345</Key></ProductKey>", True),
        ("<ProductKey>12345</ProductKey>", True),
    ],
)
def test_answer_files_of_windows_may_say_what_is_no_secret(text: str, found: bool, encoding: str) -> None:
    assert ("answer-file" in rules("/Windows/Panther/unattend.xml", text.encode(encoding))) is found


def test_every_rule_of_the_registry_is_whole() -> None:
    for rule in registry.rules():
        assert rule.fix and rule.what and rule.key and rule.hive in ("software", "system", "security", "user")
        assert bool(rule.values) is (rule.when != "present")


@pytest.mark.parametrize(
    ("when", "text", "broken"),
    [("content", "x", True), ("content", "", False), ("1", "1", True), ("1", "0", False), ("1", "1\0rest", True)],
)
def test_values_of_the_registry(when: str, text: str, broken: bool) -> None:
    rule = registry.RegistryRule("rule", "software", "key", when, "what", "fix", ("value",))
    assert rule.is_broken_by(f"{text}\0".encode("utf-16-le")) is broken


def test_a_secret_never_stands_in_a_finding() -> None:
    text = io.BytesIO(b"http_proxy=http://user:hunter2hunter2@proxy\n" + KEY).getvalue()
    for finding in scanned("/etc/environment", text):
        assert "hunter2" not in str(finding) and "MIG" not in str(finding)
