"""Work on one unit in a process of its own: a step that hangs or crashes takes nothing else with it.

The process dies with the engine (PR_SET_PDEATHSIG, see prctl(2)), carries the owner's mark in its environment, from
where every program it starts inherits it, and reports through a pipe, one JSON object a line.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from pipeline.base import json_text, secrets
from pipeline.base.errors import PipelineError
from pipeline.engine.cache import overlay
from pipeline.engine.cache.store import UnitOutcome
from pipeline.engine.keys.freshness import external_inputs
from pipeline.engine.run import step_context
from pipeline.engine.run.deadlines import stall_policy
from pipeline.engine.run.task import WorkerTask
from pipeline.engine.units.step_entry import StepEntry
from pipeline.host.qemu import accelerator, disk_full
from pipeline.steps.step import Context, Stage

OWNER = "PIPELINE_OWNER"
_PR_SET_PDEATHSIG = 1
_EVERY = 0.1  # seconds between two reports of progress
_GIVING_WAY = 5  # a third of the others' weight; see sched(7)
STOPPED = "stopped before it was done"


class Stopped(BaseException):
    """The run was told to end. Not an ``Exception``, so that no step takes it for a failure to recover from."""


def start(task: WorkerTask) -> tuple[int, int]:
    """Fork a worker; return its process id and the reading end of its pipe."""
    reader, writer = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_worker(task, writer, parent)
    os.close(writer)
    return child, reader


def _be_worker(task: WorkerTask, writer: int, parent: int) -> NoReturn:
    """Live the child's whole life. It never returns into the caller's code."""
    status = 1
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            os.setsid()
            os.environ[OWNER] = task.location.mark
            _use_temporary_folder(task.temporary)
            # Whatever the caller put in their place is the caller's.
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _stop)
            with os.fdopen(writer, "w", buffering=1) as pipe:
                status = _Worker(task, pipe).work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _use_temporary_folder(folder: Path) -> None:
    """Whatever is made by ``tempfile`` or by programs that honour TMPDIR goes there, and with it."""
    folder.mkdir(mode=0o700)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _stop(number: int, frame: FrameType | None) -> None:
    # The engine asks again as long as we run.
    if not step_context.is_handled(Stopped):
        raise Stopped


class _Worker:
    def __init__(self, task: WorkerTask, pipe: IO[str]) -> None:
        self.task = task
        self.pipe = pipe
        self.facts: dict[str, Mapping[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self._last_report = 0.0
        self._step = task.unit.entries[0].name
        self._accelerator = task.accelerator

    def work(self) -> int:
        """Run the unit's steps and commit their outcome. The status: 0 done, 1 failed."""
        begun = time.monotonic()
        try:
            self.task.location.make()
            if self.task.unit.stage is Stage.OFFLINE:
                overlay.create(self.task.location.layer, str(self.task.base))
            for entry in self.task.unit.entries:
                self._step, begun = entry.name, time.monotonic()
                self._run(entry)
                self.seconds[entry.name] = round(time.monotonic() - begun, 3)
                self._report("finished", seconds=self.seconds[entry.name])
            self._commit()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        except Stopped:
            self._failed(PipelineError(STOPPED), begun)
        except PipelineError as error:
            self._failed(error, begun)
        except OSError as error:
            location = f"{error.filename}: " if error.filename else ""
            self._failed(PipelineError(f"{location}{error.strerror or error}"), begun)
        except MemoryError:
            hint = "end other programs, or build less at once: --jobs 1"
            self._failed(PipelineError("this machine had no memory left for it", hint=hint), begun)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__}: {error} (at {last.filename}:{last.lineno} in {last.name})"
            self._failed(PipelineError("this is a bug in the step", details=[where], hint="please report it"), begun)
        else:
            self._report("committed")
            return 0
        return 1

    # The step's Progress

    def advance(self, done: int, total: int | None, unit: str = "B") -> None:
        """Pass it on, ten times a second at the most."""
        now = time.monotonic()
        if now - self._last_report >= _EVERY or done == total:
            self._last_report = now
            self._report("progress", done=done, total=total, unit=unit)

    def say(self, text: str) -> None:
        """Pass it on."""
        self._report("said", text=text)

    def _run(self, entry: StepEntry) -> None:
        task = self.task
        if entry.gives_way:
            os.nice(_GIVING_WAY)
        evidence = task.evidence[entry.name]
        evidence.mkdir(parents=True, exist_ok=True)
        with task.logs[entry.name].open("ab", buffering=0) as log, step_context.outputs_to(log):
            if self._accelerator is None:
                self._accelerator = accelerator.probe(task.home).name
            seconds = task.deadlines[entry.name][self._accelerator]
            log_file, found = str(task.logs[entry.name]), self._accelerator
            self._report("started", log=log_file, deadline=seconds, accelerator=found)
            try:
                with step_context.deadline(entry.name, seconds), step_context.untouched(self._frozen()):
                    facts = _plain(entry.name, entry.step.run(self._context(evidence, log)))
            except BaseException:
                # For whoever reads the log; people get the message alone.
                traceback.print_exc()
                raise
            finally:
                with step_context.undisturbed():
                    for location in (task.logs[entry.name], evidence):
                        secrets.scrub_files(location)
        self.facts[entry.name] = {**facts, **_dependencies(entry, task, facts)}
        self._require_same_bytes(facts)
        shutil.rmtree(evidence, ignore_errors=True)

    def _require_same_bytes(self, facts: Mapping[str, Any]) -> None:
        """Require that a step that read the products has read the bytes that were frozen."""
        for name, blob in self.task.products.items():
            read = facts.get("products", {}).get(name, {}).get("digests", {}).get("sha256", blob.sha256)
            if read != blob.sha256:
                file = self.task.store.product(name, blob.sha256)
                raise PipelineError(f"{file} no longer has the bytes it was frozen with", hint="./inv cache.verify")

    def _context(self, evidence: Path, log: IO[bytes]) -> Context:
        task, recipe = self.task, self.task.unit.recipe
        disk = task.location.disk if task.unit.stage.makes_layer else task.store.disk(str(task.base))
        if task.unit.stage is Stage.PRODUCT:
            products = {str(product.format): task.location.product(product.format) for product in recipe.products}
        else:
            products = {name: task.store.product(name, blob.sha256) for name, blob in task.products.items()}
        return Context(
            recipe=recipe,
            home=task.home,
            folder=task.location.scratch,
            disk=disk,
            products=products,
            evidence=evidence,
            log=log,
            progress=self,
            accelerator=str(self._accelerator),
            layers=task.store.layers,
            documents=task.location.documents,
            facts={**task.facts, **self.facts},
            origins=task.origins,
            locked=task.locked,
            offline=task.offline,
            stall_policy=stall_policy(str(self._accelerator)),
        )

    def _frozen(self) -> list[Path]:
        """Return what the unit may read but not change."""
        task = self.task
        below = [task.store.disk(task.base)] if task.base else []
        return [*below, *(task.store.product(name, blob.sha256) for name, blob in task.products.items())]

    def _commit(self) -> None:
        task, store, location = self.task, self.task.store, self.task.location
        disk, products, documents = None, {}, {}
        if task.unit.stage.makes_layer:
            disk = store.keep_disk(location.layer, overlay.require_base(location.disk, task.base))
        elif task.unit.stage is Stage.PRODUCT:
            formats = [str(product.format) for product in task.unit.recipe.products]
            products = {name: store.keep_product(name, location.product(name)) for name in formats}
        else:
            documents = {file.name: store.keep_document(file) for file in sorted(location.documents.iterdir())}
        store.commit(
            UnitOutcome(
                key=task.key,
                recipe=task.unit.recipe.name,
                unit=task.unit.name,
                document=task.document,
                facts=self.facts,
                seconds=self.seconds,
                run=task.run,
                made=datetime.now(UTC).isoformat(timespec="seconds"),
                accelerator=self._accelerator or "none",
                disk=disk,
                products=products,
                documents=documents,
            )
        )

    def _failed(self, error: PipelineError, begun: float) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._accelerator == "kvm":
            accelerator.forget(self.task.home)
        error = self._as_disk_full(error)
        self._report(
            "failed",
            message=error.message,
            hint=error.hint,
            details=list(error.details),
            seconds=round(time.monotonic() - begun, 3),
        )

    def _as_disk_full(self, error: PipelineError) -> PipelineError:
        """Return the error itself, or, when a disk is full, that: what programs say then may be anything."""
        if disk_full.MESSAGE in error.message:
            return error
        places = (self.task.store.root, self.task.temporary, self.task.logs[self._step])
        full = next((location for location in places if disk_full.is_full(location)), None)
        return error if full is None else disk_full.disk_full_error(full, error.message, error.details)

    def _report(self, kind: str, **facts: Any) -> None:
        # The engine may be gone; then so are we, in a moment.
        with contextlib.suppress(BrokenPipeError):
            self.pipe.write(secrets.scrub(json.dumps({"kind": kind, "step": self._step, **facts})) + "\n")


def _dependencies(entry: StepEntry, task: WorkerTask, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the step says that it took in, and what was locked for it."""
    dependencies = list(facts.get("dependencies", ()))
    known = {each["name"] for each in dependencies}
    for name in external_inputs(task.unit.recipe, [entry]):
        found = task.locked[name]
        if found["sha256"] and name not in known:
            dependencies.append({"name": name, "uri": found["url"], "digest": {"sha256": found["sha256"]}})
    return {"dependencies": dependencies} if dependencies else {}


def _plain(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return dict(json_text.loads(json.dumps(facts, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise PipelineError(
            f"the facts of {name} are not JSON data: {error}", hint="this is a bug in the step"
        ) from None
