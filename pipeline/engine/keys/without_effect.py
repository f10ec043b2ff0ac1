"""List what steps use that cannot change the bytes they make, with reasons: it counts in no key.

An entry is a module, or a definition in one, by its qualified name. What it uses in turn is still followed, and counts
unless it is listed as well. An entry is right only while its reason is; at most 25 of them.
"""

from __future__ import annotations

WITHOUT_EFFECT = {
    "pipeline.base.errors": "words of errors, and how they are carried: a step that fails leaves nothing",
    "pipeline.base.home": "where state lies on this machine, which no image tells",
    "pipeline.base.owner": "marks of processes, so that what killed ones left is found",
    "pipeline.base.progress": "progress as it is shown",
    "pipeline.base.secrets.scrub": "takes secrets out of what is shown",
    "pipeline.steps.step.ExternalInput": "what is looked at outside; what was found there is part of the key itself",
    "pipeline.steps.step.ChangeProbe": "as ExternalInput: how to look",
    "pipeline.recipes.model.source_file.SourceFile.__get_pydantic_core_schema__": "parsing, whose result is given",
    "pipeline.recipes.model.source_given.missing": "the words of an error",
    "pipeline.host.network.error_text": "the words of errors",
    "pipeline.host.network.download._reason": "the words of an error",
    "pipeline.host.system.packages": "which package to install, for the words of errors",
    "pipeline.host.qemu.accelerator": "how fast guests run; kvm and tcg make one result: the accelerator is in no key",
    "pipeline.host.diagnosis.boot_phases": "how far a guest got, for the words of errors",
    "pipeline.host.qemu.console": "reads what a guest says, for those who wait for it",
    "pipeline.host.diagnosis.boot_failure": "why a guest failed, for the words of errors",
    "pipeline.host.qemu.disk_full": "notices that this machine's disk is full: the step fails",
    "pipeline.host.qemu.guest": "starts, watches and ends a guest; which machine that is says `command`, which counts",
    "pipeline.host.qemu.metrics": "samples whether a guest moves, for those who wait for it",
    "pipeline.host.qemu.qmp": "talks to QEMU of screenshots, the power button and events; it changes no disk",
    "pipeline.host.diagnosis.stall": "how long to wait for a guest that does not move",
    "pipeline.host.guestfs.appliance.Appliance": "starts libguestfs; what is done there is the caller's",
    "pipeline.host.guestfs.appliance._EMULATED": "how fast an emulated appliance runs",
    "pipeline.host.guestfs.appliance._LABEL": "what a drive is called while the appliance runs",
    "pipeline.host.guestfs.appliance._PROCESSORS": "how fast an appliance runs",
}
