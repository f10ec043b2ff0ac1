"""Publishing builds to a real service: what consumers get, what is held back, and what bad days leave."""

from __future__ import annotations

import base64
import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.base import locks
from pipeline.base.terminal import SafeConsole
from pipeline.engine.record.result import BuildResult
from pipeline.host.system import process
from pipeline.publishing.cloud import connect, ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.plan import name_conflicts
from pipeline.publishing.plan.plan import PublishOptions
from pipeline.publishing.plan.steps import Act
from pipeline.publishing.publish_one import preview
from pipeline.publishing.report import terminal
from pipeline.publishing.sources.build import of_build
from pipeline.publishing.transaction import withdrawal
from pipeline.publishing.transaction.journal import PublishJournal, journal_file, lock_file
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.retention_fields import Gates
from pipeline.recipes.nightly import Target
from pipeline.signing.image_signature import CERTIFICATE
from tests.integration.publishing import made
from tests.integration.publishing.conftest import STORES, Desk, write_clouds
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy

pytestmark = pytest.mark.server


def test_a_signed_build_is_published_to_every_store_and_told_of_in_a_table(desk: Desk) -> None:
    build = desk.build("a")
    publish_result = desk.publish(build)
    assert (publish_result.outcome, publish_result.error) == (PublishOutcome.PUBLISHED, None)
    assert publish_result.disk is not None
    assert [read.store for read in publish_result.disk.read] == list(STORES)
    assert all("ECC_SECP384R1" in read.signature for read in publish_result.disk.read)
    image = desk.newest()
    assert set(image.stores) == set(STORES)
    assert image.sha512 == build.products[0].digests["sha512"]
    assert image.min_disk == 1
    shown = io.StringIO()
    terminal.show([publish_result], SafeConsole(file=shown, width=200))
    for words in (
        image.id,
        image.name,
        "one, two",
        image.sha512,
        "os_distro=cirros",
        "read back and verified",
        "upload",
    ):
        assert words in shown.getvalue()


def test_consumers_find_one_image_by_name_and_by_properties(desk: Desk) -> None:
    for content in "abc":
        desk.publish(desk.build(content, signed=False))
    system = {name: desk.recipe.image_properties[name] for name in name_conflicts.SYSTEM}
    by_properties = list(desk.api("as-alice").visible(visibility="public", **system))
    by_name = list(desk.api("as-alice").visible(visibility="public", name=desk.recipe.image_name))
    assert [each.id for each in by_properties] == [each.id for each in by_name] == [desk.images()[-1].id]


def test_the_published_bytes_verify_with_openssl(desk: Desk, tmp_path: Path) -> None:
    desk.publish(desk.build("a"))
    image = desk.newest()
    with desk.api().download(image.id) as blocks:
        (tmp_path / "image").write_bytes(b"".join(blocks))
    certificate = desk.home.certificates / f"{image.properties[CERTIFICATE]}.pem"
    key = process.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"]).stdout
    (tmp_path / "key.pem").write_text(key)
    (tmp_path / "signature").write_bytes(base64.b64decode(image.properties["img_signature"]))
    words: list[str | Path] = ["-sha256", "-verify", tmp_path / "key.pem", "-signature", tmp_path / "signature"]
    assert "Verified OK" in process.run(["openssl", "dgst", *words, tmp_path / "image"]).stdout


def test_bytes_that_change_in_the_store_are_never_shown(desk: Desk) -> None:
    desk.publish(desk.build("before"))
    build = desk.build("after")
    service = desk.services["here"]

    def choose(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith("/file?store=two"):
            for file in service.files("two"):
                if file.name in path:
                    data = bytearray(file.read_bytes())
                    data[100] ^= 1
                    file.chmod(0o600)
                    file.write_bytes(bytes(data))
        return Fault.NONE

    with FaultyProxy(service.url, choose=choose).running() as proxy:
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (proxy.url, "admin-token")})
        publish_result = desk.publish(build)
    write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (service.url, "admin-token")})
    assert publish_result.outcome is PublishOutcome.FAILED
    assert publish_result.error is not None and "store two" in publish_result.error.message
    assert [each.state for each in desk.images()] == [ImageState.NEWEST]
    assert desk.newest().sha512 == desk.build("before").products[0].digests["sha512"]


@pytest.mark.parametrize("stores", [("one", "two"), ()])
def test_each_store_is_read_back_as_the_answer_says(desk: Desk, stores: tuple[str, ...]) -> None:
    published = desk.publish(desk.build("a"), stores=stores)
    assert [read.store for read in published.parts[-1].read] == list(stores or ("one",))


def test_a_copy_that_is_lost_before_it_is_read_back_is_no_success(desk: Desk) -> None:
    service = desk.services["here"]

    def choose(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith("/file?store=two"):
            for file in service.files("two"):
                file.unlink()
        return Fault.NONE

    with FaultyProxy(service.url, choose=choose).running() as proxy:
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (proxy.url, "admin-token")})
        publish_result = desk.publish(desk.build("a"))
    assert publish_result.outcome is PublishOutcome.FAILED
    assert publish_result.error is not None
    assert "store two" in publish_result.error.message


def test_a_copy_that_is_gone_is_made_again(desk: Desk) -> None:
    build = desk.build("a")
    desk.publish(build, stores=("one",))
    image = desk.newest()
    assert desk.publish(build, stores=("one",)).outcome is PublishOutcome.UNCHANGED
    added = desk.publish(build)
    assert (added.outcome, added.parts[-1].changed) == (PublishOutcome.CHANGED, ("copy in two",))
    assert [read.store for read in added.parts[-1].read] == ["two"]
    service = desk.services["here"]
    assert service.request("DELETE", f"/v2/stores/one/{image.id}", "admin").status_code == 204
    again = desk.publish(build)
    assert (again.outcome, again.parts[-1].changed) == (PublishOutcome.CHANGED, ("copy in one",))
    assert set(desk.newest().stores) == {"one", "two"}
    assert [each.id for each in desk.images()] == [image.id]
    assert desk.publish(build).outcome is PublishOutcome.UNCHANGED


def test_a_copy_that_fails_is_no_success_and_hides_nothing(desk: Desk) -> None:
    build = desk.build("a")
    desk.publish(build, stores=("one",))
    image = desk.newest()
    service = desk.services["here"]

    def choose(method: str, path: str) -> Fault:
        return Fault.TROUBLE if method == "POST" and path.endswith("/import") else Fault.NONE

    with FaultyProxy(service.url, choose=choose).running() as proxy:
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (proxy.url, "admin-token")})
        failed = desk.publish(build)
    write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (service.url, "admin-token")})
    assert (failed.outcome, desk.newest().id) == (PublishOutcome.FAILED, image.id)
    assert failed.error is not None
    assert "to two" in failed.error.message
    assert desk.publish(build).outcome is PublishOutcome.CHANGED


def test_a_copy_that_does_not_read_back_fails_every_night_until_it_is_mended(desk: Desk) -> None:
    build = desk.build("a")
    desk.publish(build, stores=("one",))
    image, service = desk.newest(), desk.services["here"]

    def choose(method: str, path: str) -> Fault:
        if method == "GET" and path.endswith("/file?store=two"):
            (file,) = service.files("two")
            file.write_bytes(bytes(file.stat().st_size))
        return Fault.NONE

    with FaultyProxy(service.url, choose=choose).running() as proxy:
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (proxy.url, "admin-token")})
        outcomes = [desk.publish(build).outcome for _ in range(2)]
    write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (service.url, "admin-token")})
    assert outcomes == [PublishOutcome.FAILED, PublishOutcome.FAILED]
    assert service.request("DELETE", f"/v2/stores/two/{image.id}", "admin").status_code == 204
    assert desk.publish(build).outcome is PublishOutcome.CHANGED
    assert (desk.publish(build).outcome, desk.newest().id) == (PublishOutcome.UNCHANGED, image.id)


def test_a_member_whose_copy_is_gone_sends_it_anew(desk: Desk) -> None:
    desk.recipe = made.recipe(desk.recipe.name, visibility="private")
    build = desk.build("a", signed=False)
    desk.publish(build, "as-alice", stores=("one",))
    before = desk.newest("as-alice")
    assert desk.publish(build, "as-alice").outcome is PublishOutcome.PUBLISHED
    newest = desk.newest("as-alice")
    assert newest.id != before.id
    assert set(newest.stores) == {"one", "two"}


def test_a_cloud_that_names_no_store_is_read_once(desk: Desk) -> None:
    service = desk.services["here"]
    asked: list[str] = []

    def choose(method: str, path: str) -> Fault:
        asked.extend([path] if method == "GET" and "/file" in path else [])
        return Fault.NONE

    with FaultyProxy(service.url, choose=choose, keeps_back=frozenset({"x-openstack-image-store"})).running() as proxy:
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (proxy.url, "admin-token")})
        published = desk.publish(desk.build("a"))
    (read,) = published.parts[-1].read
    assert (read.store, read.place) == (None, "store not known; listed in one, two")
    assert len(asked) == 1


def test_a_signature_that_the_cloud_cannot_check_leaves_nothing(desk: Desk) -> None:
    build = made.build(desk.home, desk.recipe, "a")
    product = dataclasses.replace(
        build.products[0],
        signature={
            **build.products[0].signature,
            "img_signature_certificate_uuid": "0" * 8 + "-0000-4000-8000-" + "0" * 12,
        },
    )
    publish_result = desk.publish(dataclasses.replace(build, products=[product]))
    assert publish_result.outcome is PublishOutcome.FAILED
    assert desk.images() == []


def test_a_visibility_that_is_not_allowed_is_told_before_a_byte_is_sent(desk: Desk) -> None:
    service = desk.services["here"]
    with FaultyProxy(service.url).running() as proxy:
        entries = {"as-alice": (proxy.url, "alice-token"), "here": (service.url, "admin-token")}
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), entries)
        publish_result = desk.publish(desk.build("a"), "as-alice")
    assert publish_result.error is not None
    assert "does not let this user show" in publish_result.error.message and "visibility" in (
        publish_result.error.hint or ""
    )
    assert not [line for line in proxy.log if line.startswith("PUT")]
    assert desk.images() == []


def test_a_member_publishes_to_several_stores_without_an_administrators_rights(desk: Desk) -> None:
    desk.recipe = made.recipe(desk.recipe.name, visibility="private")
    assert desk.publish(desk.build("a"), "as-alice").outcome is PublishOutcome.PUBLISHED
    assert set(desk.images("as-alice")[0].stores) == set(STORES)
    assert desk.publish(desk.build("b"), "as-alice").outcome is PublishOutcome.PUBLISHED
    assert [each.state for each in desk.images("as-alice")] == [ImageState.SUPERSEDED, ImageState.NEWEST]


def test_members_get_a_shared_image_and_lose_it_when_the_recipe_drops_them(desk: Desk) -> None:
    desk.recipe = made.recipe(desk.recipe.name, visibility="shared", members=("bob", "carol"))
    desk.publish(desk.build("a"))
    image = desk.newest()
    assert desk.api().members(image.id) == {"bob": "accepted", "carol": "accepted"}
    desk.services["here"].request("POST", f"/v2/images/{image.id}/members", "admin", json={"member": "by-hand"})
    desk.recipe = made.recipe(desk.recipe.name, visibility="shared", members=("bob",))
    assert desk.publish(desk.build("a")).outcome is PublishOutcome.CHANGED
    assert set(desk.api().members(image.id)) == {"bob", "by-hand"}


def test_a_tripped_gate_holds_back_until_somebody_lets_it_through(desk: Desk) -> None:
    desk.publish(desk.build("small", blocks=1024))
    big = desk.build("big", blocks=4096)
    held = desk.publish(big)
    assert held.outcome is PublishOutcome.HELD
    assert "grew by 300 %" in held.held[0]
    shown = io.StringIO()
    terminal.show([held], SafeConsole(file=shown, width=200))
    assert f"./inv publish {desk.recipe.name} --cloud here --let-through" in shown.getvalue()
    assert [each.state for each in desk.images()] == [ImageState.NEWEST, ImageState.HELD]
    waiting = desk.images()[1]
    assert (waiting.is_hidden, waiting.visibility) == (True, "private")
    assert "grew by" in waiting.properties[ownership_marker.HELD_BECAUSE]
    again = desk.publish(big)
    assert again.outcome is PublishOutcome.HELD
    assert again.disk is not None and again.disk.read == ()
    through = desk.publish(big, options=PublishOptions(let_through=True))
    assert through.outcome is PublishOutcome.PUBLISHED
    assert desk.newest().id == waiting.id
    assert ownership_marker.HELD_BECAUSE not in desk.newest().properties


def test_a_store_that_is_added_while_an_image_waits_is_read_back_too(desk: Desk) -> None:
    desk.publish(desk.build("small", blocks=1024), stores=())
    big = desk.build("big", blocks=4096)
    held, again = (desk.publish(big, stores=()).parts[-1] for _ in range(2))
    assert [part.outcome for part in (held, again)] == [PublishOutcome.HELD, PublishOutcome.HELD]
    assert [[read.store for read in part.read] for part in (held, again)] == [["one"], []]
    through = desk.publish(big, options=PublishOptions(let_through=True))
    assert through.outcome is PublishOutcome.PUBLISHED
    assert [read.store for read in through.parts[-1].read] == ["two"]


def test_a_later_build_within_the_limits_overtakes_the_one_held_back(desk: Desk) -> None:
    desk.publish(desk.build("small", blocks=1024))
    desk.publish(desk.build("big", blocks=4096))
    assert desk.publish(desk.build("fair", blocks=1100)).outcome is PublishOutcome.PUBLISHED
    assert [each.state for each in desk.images()] == [ImageState.SUPERSEDED, ImageState.SUPERSEDED, ImageState.NEWEST]


def test_the_difference_to_the_image_before_is_told_and_guards_packages(desk: Desk) -> None:
    desk.recipe = made.recipe(desk.recipe.name, gates=Gates(max_removed_packages=2))
    desk.publish(desk.build("a"))
    fewer = {name: version for name, version in made.PACKAGES.items() if not name.endswith(("1", "2"))}
    changed = desk.publish(desk.build("b", packages={**fewer, "new": "2"}))
    assert changed.outcome is PublishOutcome.HELD
    assert changed.difference is not None
    assert changed.difference.packages.added == {"new": "2"}
    assert len(changed.difference.packages.removed) == 6


def test_what_a_person_took_back_is_not_published_again_by_itself(desk: Desk) -> None:
    desk.publish(desk.build("a"))
    desk.publish(desk.build("b"))
    first, second = desk.images()
    sender = desk.sender
    chain = Chain(sender.publisher, desk.recipe.name)
    journal = PublishJournal(journal_file(desk.home, "here", desk.recipe.name), sender.run)
    withdrawal.withdraw(desk.api(), chain, sender.runner_context(), journal, why="it does not boot", protected=False)
    assert desk.newest().id == first.id
    assert [each.state for each in desk.images()] == [ImageState.NEWEST, ImageState.WITHDRAWN]
    assert desk.publish(desk.build("b")).outcome is PublishOutcome.WITHDRAWN
    assert desk.publish(desk.build("a")).outcome is PublishOutcome.UNCHANGED
    assert desk.publish(desk.build("b"), options=PublishOptions(again=True)).outcome is PublishOutcome.PUBLISHED
    assert desk.newest().id not in (first.id, second.id)


def test_the_plan_is_what_apply_does_and_changes_nothing(desk: Desk) -> None:
    sender = desk.sender

    def acts(content: str) -> list[Act]:
        source = of_build(desk.build(content), desk.home, sender.publisher, sender.now)
        found = preview(source, Target(cloud="here", stores=STORES), sender)
        assert found.error is None
        return [step.act for step in found.steps]

    assert acts("a") == [Act.CREATE, Act.UPLOAD, Act.COPY, Act.CHECK, Act.SWITCH]
    assert desk.images() == []
    desk.publish(desk.build("a"))
    assert acts("a") == [Act.NOTHING]
    assert acts("b") == [Act.CREATE, Act.UPLOAD, Act.COPY, Act.CHECK, Act.SWITCH, Act.RETIRE]


def planned(desk: Desk, build: BuildResult, options: PublishOptions | None = None) -> str:
    """What ``--plan`` prints, without its frame."""
    sender = desk.sender
    source = of_build(build, desk.home, sender.publisher, sender.now)
    shown = io.StringIO()
    found = preview(source, Target(cloud="here", stores=STORES), sender, options)
    terminal.show_previews([found], SafeConsole(file=shown, width=300))
    return " ".join(shown.getvalue().split())


def test_plans_say_what_would_be_done_and_why(desk: Desk) -> None:
    small, big = desk.build("small", blocks=1024), desk.build("big")
    first = planned(desk, small)
    assert first.startswith(f"{desk.recipe.name} → here act image why")
    assert f"create {desk.recipe.name}-2" in first and "nothing of this recipe is published there yet" in first
    assert "becomes the newest, public" in first
    desk.publish(small)
    assert "hold" in planned(desk, big) and "it grew by 300 %" in planned(desk, big)
    desk.publish(big)
    through = planned(desk, big, PublishOptions(let_through=True))
    assert "go on" in through and "an earlier run left it held" in through
    assert f"retire {desk.recipe.name} hidden, as {desk.recipe.name}-2" in through
    desk.publish(big, options=PublishOptions(let_through=True))
    sender = desk.sender
    journal = PublishJournal(journal_file(desk.home, "here", desk.recipe.name), sender.run)
    chain = Chain(sender.publisher, desk.recipe.name)
    withdrawal.withdraw(desk.api(), chain, sender.runner_context(), journal, why="it is bad", protected=False)
    assert "these bytes were taken back by a person" in planned(desk, big)
    assert f"create {desk.recipe.name}-2" in planned(desk, big, PublishOptions(let_through=True, again=True))
    desk.recipe = made.recipe(desk.recipe.name, tags=("other",))
    assert "the same bytes, but these changed: tags" in planned(desk, desk.build("small", blocks=1024))


def test_another_run_on_this_machine_is_told_and_nothing_is_done(desk: Desk) -> None:
    impatient = dataclasses.replace(desk, retry_policy=dataclasses.replace(desk.retry_policy, settle=0.1))
    with locks.held(lock_file(desk.home, "here", desk.recipe.name), "a test"):
        publish_result = impatient.publish(desk.build("a"))
    assert publish_result.error is not None and "another run on this machine" in publish_result.error.message
    assert desk.images() == []


def test_another_run_on_this_machine_is_waited_for(desk: Desk) -> None:
    build = desk.build("a")
    with ThreadPoolExecutor(1) as pool:
        with locks.held(lock_file(desk.home, "here", desk.recipe.name), "a test"):
            waiting = pool.submit(desk.publish, build)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
        assert waiting.result(60).outcome is PublishOutcome.PUBLISHED


def test_the_operators_own_entry_goes_before_ours_and_tokens_are_not_shown(desk: Desk) -> None:
    secret = "very-secret-token"
    connect.write_entry(desk.home, "http://127.0.0.1:1", secret)
    assert connect.entry_file(desk.home).stat().st_mode & 0o077 == 0
    failing = desk.publish(desk.build("a"), "bundled")
    assert failing.error is not None
    assert "does not answer" in str(failing.error) and secret not in str(failing.error)
    file = Path(desk.home.root.parent / "clouds.yaml")
    write_clouds(file, {"bundled": (desk.services["here"].url, "admin-token")})
    assert desk.publish(desk.build("a"), "bundled").outcome is PublishOutcome.PUBLISHED
    write_clouds(file, {"bundled": (desk.services["here"].url, secret)})
    refused = desk.publish(desk.build("a"), "bundled")
    assert refused.error is not None and "401" in str(refused.error) and secret not in str(refused.error)
    unknown = desk.publish(desk.build("a"), "nowhere")
    assert unknown.error is not None and "there is no cloud named nowhere (known: bundled)" in unknown.error.message


def test_what_a_cloud_defines_otherwise_is_said_before_anything_is_sent(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundled service knows the default catalogue, and this one a definition of its operator's."""
    service = desk.services["here"]
    ours = {
        "namespace": "Our::Clouds",
        "visibility": "public",
        "properties": {"team": {"title": "Team", "type": "string", "enum": ["core", "edge"]}},
        "resource_type_associations": [{"name": "OS::Glance::Image"}],
    }
    assert service.request("POST", "/v2/metadefs/namespaces", "admin", json=ours).status_code == 201
    try:
        properties = {"team": "cor", "our_build": "7", "hw_disk_bus": "virtio"}
        desk.recipe = made.recipe("defined").model_copy(update={"properties": properties})
        build = desk.build("defined", signed=False)
        remarks = (
            "the cloud defines team otherwise: 'cor' is not one of core, edge (Our::Clouds)",
            "the cloud's definitions do not know our_build",
        )
        source = of_build(build, desk.home, desk.sender.publisher, desk.now)
        before = preview(source, Target(cloud="here", stores=STORES), desk.sender)
        assert before.remarks == remarks
        assert desk.images() == []
        terminal.show_previews([before])
        assert "defined → here: the cloud defines team otherwise" in capsys.readouterr().out.replace("\n", " ")
        publish_result = desk.publish(build)
        assert (publish_result.outcome, publish_result.remarks) == (PublishOutcome.PUBLISHED, remarks)
    finally:
        assert service.request("DELETE", "/v2/metadefs/namespaces/Our::Clouds", "admin").status_code == 204
