"""The nightly report: looked at in a real browser, mailed, posted."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import ssl
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult, ProductResult, StepResult, StepStatus
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.contents.diff import compare
from pipeline.publishing.contents.inventory import Inventory
from pipeline.publishing.history import NightEntry, NightHistory
from pipeline.publishing.nightly import Night
from pipeline.publishing.publish_one import PublishResult
from pipeline.publishing.report import files, messages
from pipeline.publishing.retention.rotation import Rotated, RotationOutcome
from pipeline.publishing.rotate import RecipeRotation
from pipeline.publishing.transaction.readback import ReadBack
from pipeline.publishing.transaction.transaction import PartResult, PublishOutcome
from pipeline.recipes.nightly import Email, Report, Webhook
from tests.environments import tls
from tests.environments.browser import Browser, browser
from tests.environments.daemon import free_port
from tests.environments.fixtures import installed
from tests.integration.publishing import made
from tests.unit.publishing.builders import NOW, record

pytestmark = pytest.mark.server

_REMARK = "the cloud defines team otherwise: '<script>' is not one of core"
_ATTACK = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


def night(home: Home) -> Night:
    """A night on which everything there is to tell happened, some of it with hostile words."""
    documents = _documents(home.root / "documents")
    steps = [
        StepResult("install", "install", StepStatus.CACHED, 23.0),
        StepResult("offline", "offline", StepStatus.RAN, 41.2),
        StepResult("boot_test", "record", StepStatus.RAN, 37.0),
    ]
    signature = {"img_signature_key_type": "ECC_SECP384R1", "img_signature_hash_method": "SHA-256"}
    product = ProductResult("qcow2", Path("/nowhere"), 17182720, {"sha256": "ab" * 32, "sha512": "cd" * 64}, signature)
    taken = {"name": "base.qcow2", "uri": "https://me:secret@example.org/base.qcow2", "digest": {"sha256": "ef" * 32}}
    facts = {"install": {"dependencies": [taken]}}
    good = BuildResult(made.recipe("tiny"), "r", [product], {}, facts, steps, True, 82.0, documents=documents)
    broken = [StepResult("install", "install", StepStatus.FAILED, 1800.0, documents["boot-bios-serial.log"])]
    error = PipelineError(f"the installer waits {_ATTACK}", hint="look at it", details=["$ virt-install --name x"])
    bad = BuildResult(made.recipe("rhel-7"), "r", [], {}, {}, broken, True, 1800.0, error, home.root / "documents")
    newest = record(ImageState.NEWEST, "new", serial=7, age=0, size=17182720)
    before = record(ImageState.NEWEST, "old", serial=6, age=1, size=16182720)
    read = [
        ReadBack(store, 17182720, "0", "ECC_SECP384R1, SHA-256, certificate 1", 0.2) for store in ("main", "mirror")
    ]
    timings = {"survey": 0.1, "upload": 4.2, "read back": 2.2, "switch": 0.3}
    shown = PartResult(ImagePart.DISK, PublishOutcome.PUBLISHED, newest, before, read, timings)
    kept = PartResult(ImagePart.DISK, PublishOutcome.HELD, newest, None, read, timings)
    difference = compare(
        Inventory({"openssl": "3.0.1", "gone": "1"}, services={"ssh": "enabled"}, known=("packages", "services")),
        Inventory(
            {"openssl": "3.0.2", _ATTACK: "1"},
            services={"ssh": "enabled", "cron": "enabled"},
            known=("packages", "services"),
        ),
    )
    publish_results = [
        PublishResult("tiny", "here", PublishOutcome.PUBLISHED, (shown,), 8.1, None, timings, (), difference),
        PublishResult(
            *("tiny", "there", PublishOutcome.HELD, (kept,), 8.0, None, timings, ("it grew by 61 %",)),
            remarks=(_REMARK,),
        ),
        PublishResult("rhel-7", "here", PublishOutcome.NOT_BUILT, error=PipelineError("the build failed")),
    ]
    rotated = [
        Rotated(before, RotationOutcome.KEPT, "it is number 1 of the 3"),
        Rotated(before, RotationOutcome.TO_DELETE, "retired 20 days ago"),
    ]
    for number in range(30):
        moment = ownership_marker.time_text(NOW - timedelta(days=30 - number))
        NightHistory(home, "tiny").add(
            NightEntry(f"r{number}", moment, "here", "published", 16_000_000 + number * 41_000)
        )
    rotations = [RecipeRotation("tiny", "here", rotated)]
    return Night(
        "20261121T031500Z-abc123", NOW, 1890.2, [good, bad], publish_results, rotations, {"tiny": ["why"]}, ["a note"]
    )


def _documents(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True)
    row = b"\0" + bytes((10, 20, 60)) * 64
    header = struct.pack(">IIBBBBB", 64, 40, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * 40)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    (folder / "boot-bios-screen.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    (folder / "boot-bios-serial.log").write_text("".join(f"line {n} {_ATTACK} \x1b[31m\n" for n in range(90)))
    (folder / "tiny.cdx.json").write_text("{}")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with installed(browser()) as running:
        yield running


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("width", "height"), [(1280, 900), (390, 844), (320, 640)], ids=["desktop", "phone", "small phone"]
)
def test_the_page_is_readable_and_says_nothing_on_the_console(
    home: Home, chromium: Browser, width: int, height: int, dark: bool
) -> None:
    folder, _ = files.write(night(home), home, keep=5)
    chromium.look(width, height, dark=dark)
    chromium.open((folder / "index.html").as_uri())
    assert chromium.complaints() == []
    assert chromium.run("return document.title").startswith("Nightly images, 2026-11-21: 1 failed, 1 held back")
    assert chromium.run("return document.documentElement.scrollWidth") <= width
    assert chromium.run(_WIDER_THAN_SCREEN, width) == []
    assert chromium.run("return [...document.images].every(image => image.naturalWidth > 0)")
    assert chromium.run("return document.querySelectorAll('svg.chart .dot').length") == 30
    assert min(chromium.run(_CONTRASTS)) >= 4.5
    background = chromium.run("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(22, 22, 21)" if dark else "rgb(247, 247, 245)")


_WIDER_THAN_SCREEN = """
return [...document.querySelectorAll('main *, header *')]
  .filter(each => each.getBoundingClientRect().right > arguments[0] + 1 && !each.closest('thead'))
  .map(each => each.outerHTML.slice(0, 80))
"""
# The contrast of every text with what it stands on (WCAG 2, relative luminance).
_CONTRASTS = """
const light = text => { const c = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2] };
const ground = each => { for (; each; each = each.parentElement) {
  const colour = getComputedStyle(each).backgroundColor; if (!/, 0\\)$/.test(colour)) return colour }
  return 'rgb(255, 255, 255)' };
return [...document.querySelectorAll('body *')].filter(each => [...each.childNodes]
    .some(node => node.nodeType === 3 && node.data.trim()) && each.getClientRects().length)
  .map(each => { const [a, b] = [light(getComputedStyle(each).color), light(ground(each))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) })
"""


def test_links_lead_to_files_beside_the_page(home: Home) -> None:
    folder, document = files.write(night(home), home, keep=5)
    links = [file["href"] for recipe in document["recipes"] for file in recipe["files"]]
    assert "files/tiny/tiny.cdx.json" in links
    assert all((folder / link).is_file() for link in links)
    data = json.loads((folder / "report.json").read_text())
    assert (data["version"], data["verdict"]) == (1, "1 failed, 1 held back, 1 published")
    assert data["recipes"][0]["made_from"] == [
        {"name": "base.qcow2", "from": "https://example.org/base.qcow2", "digest": "sha256 efefefefefefefef…"}
    ]
    assert data["totals"] == {"published": 1, "held back": 1, "not built": 1}
    assert data["recipes"][0]["screens"] == [{"name": "boot-bios-screen.png"}]


def test_markdown_tells_the_same_and_takes_no_orders_from_outside(home: Home) -> None:
    folder, _ = files.write(night(home), home, keep=5)
    text = (folder / "report.md").read_text()
    assert "- made from base.qcow2" in text
    assert "| tiny | there | held back |" in text and "it grew by 61 %" in text
    assert "./inv publish tiny --cloud there --let-through" in text
    assert "- there: the cloud defines team otherwise" in text
    assert "the cloud defines team otherwise: &#39;&lt;script&gt;" in (folder / "index.html").read_text()
    assert "<script>" not in text.replace("\\<script\\>", "")


def test_old_reports_are_forgotten(home: Home) -> None:
    tonight = night(home)
    for number in range(4):
        files.write(replace(tonight, run=f"2026112{number}T031500Z-abc123"), home, keep=2)
    assert [path.name[:8] for path in sorted(files.folder(home).iterdir())] == ["20261122", "20261123"]
    assert files.newest(home).name.startswith("20261123")
    with pytest.raises(PipelineError, match="there is no report of the run nothing") as refused:
        files.newest(home, "nothing")
    assert refused.value.hint == "the newest runs: 20261123T031500Z-abc123, 20261122T031500Z-abc123"


def test_that_there_is_no_report_yet_is_told_with_what_writes_one(home: Home) -> None:
    with pytest.raises(PipelineError, match="there is no report of any nightly run yet") as refused:
        files.newest(home)
    assert "./inv nightly" in (refused.value.hint or "")


class _Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.headers.get("Authorization"), json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    with server:
        yield server
        server.shutdown()


class Mails:
    """Keeps what a mail server was given, and who gave it."""

    def __init__(self) -> None:
        self.kept: list[Envelope] = []
        self.users: list[str] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.kept.append(envelope)
        return "250 kept"

    def log_in(self, server: SMTP, session: Session, envelope: Envelope, how: str, given: LoginPassword) -> AuthResult:
        self.users.append(given.login.decode())
        return AuthResult(success=(given.login, given.password) == (b"night", b"pass word"), handled=False)


@contextlib.contextmanager
def mail_server(mails: Mails, **options: Any) -> Iterator[int]:
    """A real mail server; its port."""
    port = free_port()
    controller = Controller(mails, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def mail(port: int, **more: Any) -> Report:
    given = {"to": ("a@example.org", "c@example.org"), "sender": "b@example.org", "host": "localhost", "port": port}
    return Report(email=Email(**{**given, **more}))


def test_the_summary_is_mailed_with_the_page(home: Home) -> None:
    folder, document = files.write(night(home), home, keep=5)
    page = (folder / "index.html").read_text()
    mails = Mails()
    with mail_server(mails) as port:
        assert list(messages.send(mail(port, tls="none"), document, page)) == []
    (envelope,) = mails.kept
    assert (envelope.mail_from, envelope.rcpt_tos) == ("b@example.org", ["a@example.org", "c@example.org"])
    assert isinstance(envelope.content, bytes)
    message = message_from_bytes(envelope.content, policy=default)
    assert message["Subject"] == "Nightly images: 1 failed, 1 held back, 1 published"
    assert parsedate_to_datetime(message["Date"]) == NOW and message["Message-ID"]
    text, attached = message.iter_parts()
    assert "| tiny | there | held back |" in text.get_content()
    assert (attached.get_filename(), attached.get_content_type()) == (
        "nightly-20261121T031500Z-abc123.html",
        "text/html",
    )
    assert attached.get_content().splitlines() == page.splitlines()


def test_a_mail_server_that_wants_encryption_and_a_password_gets_both(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, document = files.write(night(home), home, keep=5)
    authority = tls.for_loopback(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    password = tmp_path / "password"
    password.write_text("pass word\n")
    password.chmod(0o600)
    mails = Mails()
    options = {"require_starttls": True, "tls_context": context, "authenticator": mails.log_in, "auth_required": True}
    with mail_server(mails, **options) as port:
        report = mail(port, user="night", password_file=str(password))
        (unknown,) = messages.send(report, document, "page")
        assert "CERTIFICATE_VERIFY_FAILED" in unknown.message and not mails.kept
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.authority))
        assert list(messages.send(report, document, "page")) == []
        password.write_text("wrong")
        (refused,) = messages.send(report, document, "page")
        (plain,) = messages.send(mail(port, tls="none"), document, "page")
    assert (len(mails.kept), set(mails.users)) == (1, {"night"})
    assert f"the mail server localhost:{port}" in refused.message and "535" in refused.message
    assert "wrong" not in str(refused) and "STARTTLS" in plain.message
    (gone,) = messages.send(mail(port), document, "page")
    assert "Connection refused" in gone.message and "report.email" in (gone.hint or "")


def test_the_webhook_gets_the_summary_and_its_secret_stays_in_its_file(home: Home, tmp_path: Path) -> None:
    _, document = files.write(night(home), home, keep=5)
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    server.posts, server.status = [], 200
    with serving(server):
        url = f"http://127.0.0.1:{server.server_address[1]}/hook?key=hidden"
        report = Report(webhook=Webhook(url=url, token_file=str(secret)))
        assert list(messages.send(report, document, "")) == []
        server.status = 500
        (problem,) = messages.send(report, document, "")
    authorization, summary = server.posts[0]
    assert authorization == "Bearer s3cret"
    assert summary["publications"][0] == {"recipe": "tiny", "cloud": "here", "outcome": "published"}
    assert "answered 500" in str(problem) and "hidden" not in str(problem) and "s3cret" not in str(problem)
    secret.chmod(0o644)
    (problem,) = messages.send(report, document, "")
    assert "can be read by others" in str(problem)


@pytest.mark.parametrize(
    ("when", "good", "changed", "due"),
    [
        ("always", True, False, True),
        ("changed", True, False, False),
        ("changed", True, True, True),
        ("changed", False, False, True),
        ("failed", True, True, False),
        ("failed", False, True, True),
    ],
)
def test_people_are_told_when_they_asked_to_be(when: str, good: bool, changed: bool, due: bool) -> None:
    assert messages.is_due(Report(when=when), {"good": good, "changed": changed}) is due
