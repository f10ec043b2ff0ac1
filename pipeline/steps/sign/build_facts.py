"""Gather what this build can say of itself, for the attestations."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.host.system import kernel, process
from pipeline.signing.attestation.provenance import DEFAULT_BUILDER
from pipeline.signing.attestation.seal import BuildFacts
from pipeline.steps.step import Context

# Who built it, as a URI that a policy can name; it says how far the machine is trusted.
BUILDER = "PIPELINE_BUILDER_ID"
_LOCK = "requirements/runtime.txt"


def gather(context: Context) -> BuildFacts:
    """Return everything known of this build. Commands and files it asks are this machine's own."""
    recipe = context.recipe
    options = recipe.model_dump(mode="json")
    origins = list(context.origins)
    finished = datetime.datetime.now(datetime.UTC)
    scan = context.facts.get("scan", {})
    return BuildFacts(
        image={
            "name": recipe.image_name,
            "distro": recipe.os.distro,
            "version": recipe.os.version,
            **_system(context.facts.get("offline", {}).get("inspection", {})),
        },
        recipe=recipe.name,
        options=options,
        dependencies=[*_sources(options), *_taken(context)],
        tools=tools(),
        accelerator=context.accelerator,
        steps=[
            {"unit": each.unit, "key": each.key, "run": each.run, "made": each.made, "seconds": each.seconds}
            for each in origins
        ],
        invocation=origins[-1].run if origins else "unknown",
        started=_utc(min((each.made for each in origins), default=finished.isoformat())),
        finished=_utc(finished.isoformat()),
        builder=os.environ.get(BUILDER) or DEFAULT_BUILDER,
        boot_test=_boots(context),
        scan=scan.get("report"),
        packages=scan.get("packages"),
    )


def _boots(context: Context) -> dict[str, Any] | None:
    """Return the boot tests' facts in one. Firmwares that booted an earlier image with the same boot chain say when."""
    tested, others = context.facts.get("boot_test"), context.facts.get("firmware_test")
    if tested is None or others is None:
        return None if tested is None else dict(tested)
    when = {each.unit: {"run": each.run, "made": each.made} for each in context.origins}["firmware_test"]
    further = {kind: {**boot, "boot_chain": others["boot_chain"], **when} for kind, boot in others["firmware"].items()}
    return {**tested, "firmware": {**tested["firmware"], **further}}


def _system(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what the finished system was found to be, of what a bill of materials tells."""
    facts = {
        "product": found.get("product") or "",
        "kernel": ", ".join(found.get("kernels") or ()),
        "boot-loader": ", ".join(found.get("loaders") or ()),
        "firmware": ", ".join(found.get("firmware") or ()),
    }
    return {name: text for name, text in facts.items() if text}


def tools() -> dict[str, str]:
    """Return the versions of what builds."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for name, command in (("qemu", ["qemu-img", "--version"]), ("libguestfs", ["guestfish", "--version"])):
        try:
            output = process.run(command, timeout=30).stdout
        except PipelineError:
            continue
        version = re.search(r"\d+(?:\.\d+)+", output)
        found[name] = version[0] if version else "unknown"
    try:
        found["appliance-kernel"] = kernel.newest().version
    except PipelineError:
        pass
    return found


def _sources(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the recipe and this pipeline's own code, with all that it depends on."""
    text = json.dumps(options, sort_keys=True, separators=(",", ":")).encode()
    yield _dependency("recipe", f"urn:golden-image-pipeline:recipe:{options['name']}", sha256=_sha256(text))
    lock = CHECKOUT / _LOCK
    if lock.is_file():
        yield _dependency("lock file", _LOCK, sha256=_sha256(lock.read_bytes()))
    revision = _git("rev-parse", "HEAD")
    if revision:
        # A change that is in no commit is told, and has no digest.
        state = "" if not _git("status", "--porcelain", "--untracked-files=no") else "#modified"
        origin = _without_password(_git("remote", "get-url", "origin") or "")
        yield _dependency("pipeline", f"git+{origin or 'urn:golden-image-pipeline'}{state}", gitCommit=revision)


def _taken(context: Context) -> Iterator[dict[str, Any]]:
    """Media and other things that steps took in, as their facts name them (``dependencies``)."""
    for name, facts in context.facts.items():
        for each in facts.get("dependencies", ()):
            yield {"name": each.get("name", name), "uri": each["uri"], "digest": dict(each["digest"])}


def _dependency(name: str, uri: str, **digest: str) -> dict[str, Any]:
    return {"name": name, "uri": uri, "digest": digest}


def _git(*words: str) -> str:
    try:
        finished = process.run(["git", "-C", CHECKOUT, *words], check=False, timeout=30)
    except PipelineError:
        return ""
    return finished.stdout.strip() if finished.status == 0 else ""


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.scheme else ""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _utc(text: str) -> str:
    return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
