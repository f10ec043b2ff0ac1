"""What is outside decides: found at servers of our own, locked, expired, unreachable."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.retry import RetryPolicy
from pipeline.engine import registry
from pipeline.engine.build import build
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.keys import content_key, freshness
from pipeline.engine.keys import parallel as keys_parallel
from pipeline.engine.keys.freshness import LookupMode, current, external_inputs, resolve
from pipeline.engine.keys.lock_file import Locked, LockFile
from pipeline.engine.plan.plan import PlannedAction, plan
from pipeline.engine.record import events
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import ChangeProbe, Context, ExternalInput, Stage
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench


@dataclass
class Server:
    """A web server whose answers a test chooses: path → (status, headers, body)."""

    url: str
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append(f"{self.command} {self.path}")
            status, headers, body = said.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *words: Any) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said = Server(f"http://127.0.0.1:{listening.server_address[1]}")
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield said
    listening.shutdown()
    listening.server_close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "_RETRIES", RetryPolicy(attempts=3, sleep=lambda _: None))


def one(source: ExternalInput, **known: Locked) -> Locked:
    return resolve([source], known)[source.name]


def test_content_is_digested(server: Server) -> None:
    server.answers["/repomd.xml"] = (200, {}, b"hello")
    found = one(ExternalInput("repo", (f"{server.url}/repomd.xml",)))
    assert found.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert found.url == f"{server.url}/repomd.xml"


def test_a_page_for_people_is_no_content(server: Server) -> None:
    """Login pages of networks, and servers that tell of their errors by 200."""
    server.answers["/page"] = (200, {}, b"<!DOCTYPE html><title>Please log in</title>")
    server.answers["/InRelease"] = (200, {}, b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n")
    form = b"-----BEGIN PGP SIGNED MESSAGE-----"
    found = one(ExternalInput("index", (f"{server.url}/page", f"{server.url}/InRelease"), form=form))
    assert found.url == f"{server.url}/InRelease", "the next place is asked"
    with pytest.raises(PipelineError) as caught:
        one(ExternalInput("index", (f"{server.url}/page",), form=form))
    assert "the server answered with something else, such as a page for people" in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "good"),
    [
        ("debian-12", b"-----BEGIN PGP SIGNED MESSAGE-----\n"),
        ("almalinux-9", b"# AlmaLinux-9.qcow2: 1 bytes\nSHA256 (AlmaLinux-9.qcow2) = 00\n"),
        ("ubuntu-24.04", b"0123 *noble-server-cloudimg-amd64.img\n"),
    ],
)
def test_recipes_know_what_they_will_find(recipe: str, good: bytes) -> None:
    (loaded,) = RecipeFolder(CHECKOUT / "recipes").load(recipe)
    forms = [
        each.form for each in external_inputs(loaded, registry.STEPS).values() if each.probe is ChangeProbe.CONTENT
    ]
    assert forms and all(re.match(form, good) for form in forms)
    assert not any(re.match(form, b"<html>\n") for form in forms)


def test_what_has_not_changed_keeps_its_date(server: Server) -> None:
    server.answers["/x"] = (200, {}, b"hello")
    source = ExternalInput("repo", (f"{server.url}/x",))
    old = Locked("anywhere", "2020-01-01T00:00:00+00:00", sha256=one(source).sha256)
    assert one(source, repo=old) is old
    server.answers["/x"] = (200, {}, b"other")
    assert one(source, repo=old).sha256 != old.sha256


def test_headers_do_for_large_media(server: Server) -> None:
    server.answers["/big.img"] = (200, {"ETag": '"1"', "Content-Length": "123456789"}, b"")
    found = one(ExternalInput("image", (f"{server.url}/big.img",), ChangeProbe.HEADERS))
    assert found.identity == {"ETag": '"1"', "Content-Length": "123456789"}
    assert server.asked == ["HEAD /big.img"]


def test_links_to_the_latest_are_followed_and_signatures_dropped(server: Server) -> None:
    server.answers["/latest"] = (302, {"Location": f"{server.url}/v2/image?X-Signature=secret"}, b"")
    server.answers["/v2/image?X-Signature=secret"] = (200, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, b"")
    found = one(ExternalInput("image", (f"{server.url}/latest",), ChangeProbe.HEADERS))
    assert found.url == f"{server.url}/v2/image"


def test_passwords_in_urls_are_never_written(server: Server) -> None:
    server.answers["/x"] = (200, {}, b"hello")
    url = server.url.replace("http://", "http://user:secret@")
    assert "secret" not in one(ExternalInput("repo", (f"{url}/x",))).url
    with pytest.raises(PipelineError) as caught:
        one(ExternalInput("repo", (f"{url}/none",)))
    assert "secret" not in str(caught.value)


def test_mirrors_are_tried_in_order(server: Server) -> None:
    server.answers["/b"] = (200, {}, b"hello")
    dead = "http://127.0.0.1:9/"
    found = one(ExternalInput("repo", (dead, f"{server.url}/a", f"{server.url}/b")))
    assert found.url.endswith("/b")


def test_a_tired_server_is_asked_again(server: Server) -> None:
    server.answers["/x"] = (503, {}, b"")
    with pytest.raises(PipelineError) as caught:
        one(ExternalInput("repo", (f"{server.url}/x",)))
    assert "the server answered 503" in str(caught.value)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "reading", "reason"),
    [
        ((404, {}, b""), ChangeProbe.CONTENT, "the server answered 404 Not Found"),
        ((200, {"Content-Length": "99"}, b"short"), ChangeProbe.CONTENT, ""),
        ((200, {}, b"x"), ChangeProbe.HEADERS, "neither ETag nor Last-Modified"),
        ((200, {}, b"x" * 2000), ChangeProbe.CONTENT, "this is no metadata"),
    ],
)
def test_bad_answers_are_explained(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, dict[str, str], bytes],
    reading: ChangeProbe,
    reason: str,
) -> None:
    monkeypatch.setattr(freshness, "LARGEST", 1000)
    server.answers["/x"] = answer
    with pytest.raises(PipelineError) as caught:
        one(ExternalInput("repo", (f"{server.url}/x",), reading))
    assert reason in str(caught.value) and "repo: " in str(caught.value)


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="only http, https and file are read"):
        one(ExternalInput("repo", ("ftp://example.org/x",)))
    (tmp_path / "medium.iso").write_bytes(b"hello")
    assert one(ExternalInput("medium", (f"file://{tmp_path}/medium.iso",))).sha256
    with pytest.raises(PipelineError, match="No such file"):
        one(ExternalInput("medium", (f"file://{tmp_path}/none.iso",)))


def test_what_nobody_can_read_expires() -> None:
    source = ExternalInput("cdn", ("https://cdn.example.org/repo",), ChangeProbe.TIME, max_age=3600)
    recent = Locked("x", (datetime.now(UTC) - timedelta(minutes=50)).isoformat(timespec="seconds"))
    assert one(source, cdn=recent) is recent
    old = Locked("x", (datetime.now(UTC) - timedelta(minutes=70)).isoformat(timespec="seconds"))
    assert one(source, cdn=old).identity != old.identity


def test_all_that_cannot_be_reached_is_named(server: Server) -> None:
    with pytest.raises(PipelineError) as caught:
        resolve([ExternalInput("one", (f"{server.url}/1",)), ExternalInput("two", (f"{server.url}/2",))], {})
    assert len(caught.value.details) == 2


def test_a_lock_file_is_written_only_for_news(tmp_path: Path) -> None:
    lock = LockFile(tmp_path, "tiny")
    entry = Locked("http://x", "2026-01-01T00:00:00+00:00", sha256="00")
    assert lock.read() == {}
    assert lock.write({"repo": entry})
    assert lock.read() == {"repo": entry}
    assert not lock.write({"repo": entry})
    assert json.loads(lock.path.read_text())["recipe"] == "tiny"
    assert lock.write({})
    assert not lock.path.exists()
    assert not lock.write({})
    lock.path.write_text("{")
    with pytest.raises(PipelineError, match="is no lock file"):
        lock.read()
    assert lock.write({"repo": entry})


ENTRY = '"url": "http://x", "resolved": "2026-01-01T00:00:00+00:00"'


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"<<<<<<< HEAD",
        b"\xff\xfe",
        b"[]",
        b'{"format": 1, "sources": []}',
        b'{"format": "2", "sources": {}}',
        b'{"format": 1, "sources": {"x": {"url": "http://x"}}}',
        b'{"format": 1, "sources": {"x": {"url": "http://x", "resolved": "yesterday"}}}',
        b'{"format": 1, "sources": {"x": {"url": "http://x", "resolved": "2026-01-01T00:00:00"}}}',
        b'{"format": 1, "sources": {"x": {"url": 5, "resolved": "2026-01-01T00:00:00+00:00"}}}',
        b'{"format": 1, "sources": {"x": {%s, "more": 1}}}' % ENTRY.encode(),
    ],
)
def test_a_damaged_lock_file_is_written_anew_when_asked_to(tmp_path: Path, server: Server, text: bytes) -> None:
    server.answers["/repomd.xml"] = (200, {}, b"first")
    step = FromOutside(tmp_path, "install", Stage.INSTALL)
    step.url = server.url
    lock = LockFile(tmp_path, "light")
    lock.path.write_bytes(text)
    with pytest.raises(PipelineError, match="is no lock file") as caught:
        current(light.recipe(), [StepEntry(step)], lock, LookupMode.FRESH)
    assert caught.value.hint == "./inv lock light writes it anew"
    assert lock.path.read_bytes() == text, "a night leaves it to a person"
    found, _ = current(light.recipe(), [StepEntry(step)], LockFile(tmp_path, "light", mend=True), LookupMode.FRESH)
    assert lock.read() == found


def test_a_lock_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    for lock in (LockFile(tmp_path, "tiny"), LockFile(tmp_path, "tiny", mend=True)):
        lock.path.write_text('{"format": 2, "more": {}}')
        with pytest.raises(PipelineError, match="is of a newer version of the pipeline: it has format 2, and this one"):
            lock.read()
        with pytest.raises(PipelineError, match="is of a newer version"):
            lock.write({})
        assert "more" in lock.path.read_text()


def test_a_lock_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    lock = LockFile(tmp_path, "tiny")
    lock.path.mkdir()
    with pytest.raises(PipelineError, match="cannot be read: Is a directory"):
        lock.read()


class FromOutside(light.Install):
    """An installation from a repository."""

    url = ""

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        return [ExternalInput("repo", (f"{self.url}/repomd.xml",))]

    def work(self, context: Context) -> Mapping[str, Any]:
        assert context.locked["repo"]["sha256"]
        return {**super().work(context), "offline": context.offline}


class Nights:
    """Builds with a step that takes from outside."""

    def __init__(self, bench: Bench, server: Server, folder: Path) -> None:
        self.bench = bench
        self.server = server
        self.folder = folder
        install = FromOutside(bench.steering, "install", Stage.INSTALL)
        install.url = server.url
        self.steps = [StepEntry(install), *light.steps(bench.steering)[1:]]

    def build(self, **options: Any) -> BuildResult:
        settings = BuildOptions(
            home=self.bench.home, monitors=(self.bench,), accelerator="tcg", locks=self.folder, **options
        )
        (result,) = build([light.recipe()], settings, steps=self.steps)
        return result


@pytest.fixture
def nights(bench: Bench, server: Server, tmp_path: Path) -> Nights:
    server.answers["/repomd.xml"] = (200, {}, b"first")
    return Nights(bench, server, tmp_path)


def test_a_changed_repository_installs_anew(nights: Nights, bench: Bench) -> None:
    assert nights.build(fresh=True).is_good
    assert bench.ran()
    assert not nights.build(fresh=True).changed
    nights.server.answers["/repomd.xml"] = (200, {}, b"updates")
    before = (nights.folder / "light.lock.json").read_text()
    assert nights.build(fresh=True).is_good
    assert bench.ran() == ["light/install"], "and its disk turned out the same"
    assert (nights.folder / "light.lock.json").read_text() != before
    assert [event.text for event in bench.of(events.RunNoted)] == ["light: repo has changed"]


def test_a_build_takes_what_is_locked_and_asks_nobody(nights: Nights, bench: Bench) -> None:
    nights.build(fresh=True)
    nights.server.answers["/repomd.xml"] = (200, {}, b"updates")
    asked = len(nights.server.asked)
    assert not nights.build().changed
    assert not nights.build(locked=True).changed
    assert not nights.build(offline=True).changed
    assert len(nights.server.asked) == asked


def test_a_build_without_lock_looks_and_does_not_write(nights: Nights) -> None:
    assert nights.build().is_good
    assert not (nights.folder / "light.lock.json").exists()


def test_locked_needs_a_lock(nights: Nights) -> None:
    result = nights.build(locked=True)
    assert result.error is not None
    assert "recipe light is not locked: repo" in result.error.message
    assert nights.server.asked == []


def test_steps_know_that_they_are_offline(nights: Nights) -> None:
    nights.build(fresh=True)
    nights.bench.steer("input.install", "again")
    assert nights.build(offline=True).facts["install"]["offline"] is True


def test_a_dead_mirror_is_the_cause_and_nothing_runs(nights: Nights, bench: Bench) -> None:
    nights.server.answers.clear()
    result = nights.build(fresh=True)
    assert result.error is not None
    assert "cannot be reached" in result.error.message
    assert "404 Not Found" in str(result.error)
    assert bench.ran() == []
    (told,) = bench.of(events.StepFailed)
    assert (told.step, told.message) == ("prepare", result.error.message)
    assert told.details == result.error.details


def test_a_dead_mirror_is_told_in_plain_words(nights: Nights, bench: Bench) -> None:
    assert nights.build(fresh=True).is_good
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nights.steps[0].step.url = dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"  # type: ignore[attr-defined]
    error = nights.build(fresh=True).error
    assert error is not None
    assert error.message == "what recipe light is made from cannot be reached: repo"
    assert error.details == (f"repo: {dead}/repomd.xml: nothing listens there (connection refused)",)
    assert error.hint is not None and "recipes/light.yaml" in error.hint and "--locked" in error.hint
    (nights.folder / "light.lock.json").unlink()
    unlocked = nights.build().error
    assert unlocked is not None and "--locked" not in str(unlocked.hint), "nothing was locked before"


@pytest.fixture
def silent() -> Iterator[str]:
    """A mirror that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_silent_mirror_is_named_and_does_not_hold_who_wants_to_go(
    nights: Nights, bench: Bench, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_parallel, "_LONG", 0.3)
    nights.steps[0].step.url = silent  # type: ignore[attr-defined]
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        nights.build(fresh=True)
    assert [thread for thread in threading.enumerate() if thread.name == "asking for repo"], "it waited for the answer"
    assert [event.text for event in bench.of(events.RunNoted)] == ["light: no answer yet, going on asking: repo"]
    assert bench.of(events.BuildFinished)[0].interrupted
    assert bench.ran() == []


def test_every_mirror_has_its_own_line(server: Server) -> None:
    unknown = "a." * 130 + "b"  # too long a name to ask anybody for
    urls = ("http://127.0.0.1:9/x", f"{server.url}/none", f"http://user:secret@{unknown}/x")
    with pytest.raises(PipelineError) as caught:
        resolve([ExternalInput("repo", urls)], {}, recipe="tiny")
    assert caught.value.details == (
        "repo: http://127.0.0.1:9/x: nothing listens there (connection refused)",
        f"repo: {server.url}/none: the server answered 404 Not Found",
        f"repo: http://{unknown}/x: its name is not known (is there a network, is the name right?)",
    )


def test_a_plan_names_what_has_changed_outside(nights: Nights, bench: Bench) -> None:
    nights.build(fresh=True)
    lock = LockFile(nights.folder, "light")
    lock.write({"repo": Locked("x", "2026-01-01T00:00:00+00:00", sha256="ff")})
    with closing(BuildHistory(bench.home)) as history:
        found = plan(light.recipe(), nights.steps, bench.store, history, lock)
        assert found.steps[0].verdict is PlannedAction.RUN
        assert found.steps[0].changes[0].startswith("install: outside.repo: ")
        lock.path.unlink()
        unknown = plan(light.recipe(), nights.steps, bench.store, history, lock)
    assert unknown.steps[0].verdict is PlannedAction.RUN
    assert unknown.steps[0].reason == "repo: not looked at yet (./inv lock light)"
    assert unknown.steps[1].reason == "install runs"


class FromHere(light.Install):
    """An installation from a package of this machine."""

    package = "pkg:deb/debian/busybox@1"

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        return [ExternalInput("package busybox", (self.package,), ChangeProbe.MACHINE)]


@pytest.fixture
def local(bench: Bench, server: Server, tmp_path: Path) -> tuple[Nights, FromHere]:
    nights = Nights(bench, server, tmp_path)
    install = FromHere(bench.steering, "install", Stage.INSTALL)
    nights.steps[0] = StepEntry(install)
    return nights, install


def test_packages_of_this_machine_are_always_known(local: tuple[Nights, FromHere], bench: Bench) -> None:
    nights, install = local
    assert nights.build(offline=True).is_good, "what lies here needs no network"
    assert not (nights.folder / "light.lock.json").exists()
    assert nights.build(fresh=True).is_good
    bench.ran()
    install.package = "pkg:deb/debian/busybox@2"
    with closing(BuildHistory(bench.home)) as history:
        found = plan(light.recipe(), nights.steps, bench.store, history, LockFile(nights.folder, "light"))
    assert found.steps[0].changes == (
        'install: outside.package busybox: "pkg:deb/debian/busybox@1" → "pkg:deb/debian/busybox@2"',
    )
    assert nights.build().is_good
    assert bench.ran() == ["light/install"]
    assert "busybox@1" in (nights.folder / "light.lock.json").read_text(), "only a night writes it"
    nights.build(fresh=True)
    assert "busybox@2" in (nights.folder / "light.lock.json").read_text()
    assert [event.text for event in bench.of(events.RunNoted)] == ["light: package busybox has changed"]


def test_locked_means_the_packages_of_this_machine_too(local: tuple[Nights, FromHere]) -> None:
    nights, install = local
    never = nights.build(locked=True)
    assert never.error is not None and "never locked" in str(never.error)
    assert nights.build(fresh=True).is_good
    assert nights.build(locked=True).is_good
    install.package = "pkg:deb/debian/busybox@2"
    other = nights.build(locked=True)
    assert other.error is not None
    assert "locked is pkg:deb/debian/busybox@1, here is pkg:deb/debian/busybox@2" in str(other.error)


def test_what_was_locked_is_part_of_the_provenance(nights: Nights) -> None:
    result = nights.build(fresh=True)
    digest = hashlib.sha256(b"first").hexdigest()
    assert result.facts["install"]["dependencies"] == [
        {"name": "repo", "uri": f"{nights.server.url}/repomd.xml", "digest": {"sha256": digest}}
    ]


class FromTheGuestsOwn(light.Customize):
    """Customisation that takes packages from repositories which only the guest knows."""

    max_age = 7200.0

    def external_inputs(self, recipe: Recipe) -> Sequence[ExternalInput]:
        return [ExternalInput("packages of the guest", ("urn:guest",), ChangeProbe.TIME, self.max_age)]


def test_what_only_time_can_tell_expires_by_night_and_is_cached_by_day(
    bench: Bench, server: Server, tmp_path: Path
) -> None:
    nights = Nights(bench, server, tmp_path)
    customize = FromTheGuestsOwn(bench.steering, "customize", Stage.OFFLINE)
    nights.steps = [light.steps(bench.steering)[0], StepEntry(customize), *light.steps(bench.steering)[2:]]
    assert nights.build().is_good
    bench.ran()
    assert not nights.build().changed, "without a lock file, too"
    assert not nights.build(offline=True).changed
    assert "not locked" in str(nights.build(locked=True).error)
    assert nights.build(fresh=True).is_good
    assert bench.ran() == ["light/customize"]
    assert not nights.build(fresh=True).changed, "a second night within max_age"
    lock = LockFile(tmp_path, "light")
    (name, entry), *_ = lock.read().items()
    old = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="seconds")
    lock.write({name: Locked(entry.url, old)})
    assert nights.build().is_good
    bench.ran()
    assert not nights.build().changed, "by day nothing expires"
    time.sleep(1)  # the moment of a look is known by the second
    assert nights.build(fresh=True).is_good
    assert bench.ran() == ["light/customize"]


@pytest.mark.parametrize(
    ("name", "install", "path", "changed"),
    [
        (
            "debian-12",
            {"mirrors": ("{url}/debian",), "security": ()},
            "/debian/dists/bookworm-updates/InRelease",
            "debian bookworm-updates",
        ),
        ("ubuntu-24.04", {}, "/noble/current/SHA256SUMS", "SHA256SUMS for ubuntu-24.04-server-cloudimg-amd64.img"),
    ],
)
def test_shipped_recipes_notice_what_changes_outside(
    server: Server, home: Home, tmp_path: Path, name: str, install: dict[str, Any], path: str, changed: str
) -> None:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load(name)
    text = recipe.install.model_dump()
    text.update({key: tuple(each.format(url=server.url) for each in value) for key, value in install.items()})
    if text.get("release"):
        text["release"]["folders"] = (f"{server.url}/noble/current/",)
    here = recipe.model_copy(update={"install": type(recipe.install).model_validate(text)})
    signed = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
    for source in external_inputs(here, registry.STEPS).values():
        server.answers[source.urls[0].removeprefix(server.url)] = (200, {}, signed + b"yesterday")
    assert path in server.answers
    lock = LockFile(tmp_path, name)
    current(here, registry.STEPS, lock, LookupMode.FRESH)
    store = CacheStore.open(home.cache)
    with closing(BuildHistory(home)) as history:
        before = plan(here, registry.STEPS, store, history, lock)
        assert not before.is_blocked, before
        document = content_key.document("install", {}, [_install(here)], here, lock.read())
        history.remember(name, "install", "0", document)
        assert (
            plan(here, registry.STEPS, store, history, lock).steps[0].reason == "its result is no longer in the cache"
        )
        server.answers[path] = (200, {}, signed + b"updates")
        _, news = current(here, registry.STEPS, lock, LookupMode.FRESH)
        assert news == [f"{name}: {changed} has changed"]
        after = plan(here, registry.STEPS, store, history, lock).steps[0]
    assert after.verdict is PlannedAction.RUN
    assert [line.split(": ")[1] for line in after.changes] == [f"outside.{changed}"]


def _install(recipe: Recipe) -> StepEntry:
    return next(each for each in registry.STEPS if each.step.applies_to(recipe) and each.stage is Stage.INSTALL)
