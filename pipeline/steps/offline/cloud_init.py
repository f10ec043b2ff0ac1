"""Write cloud-init's settings in a guest."""

from __future__ import annotations

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.recipes.model.guest import CloudInit

FILE = "/etc/cloud/cloud.cfg.d/91-image.cfg"


def configure(system: GuestSystem, options: CloudInit) -> None:
    """Write the settings. Raises ``PipelineError`` when the guest lacks what they are for."""
    if not system.has_command("cloud-init"):
        raise PipelineError(
            "customize.cloud_init: the guest has no cloud-init", hint="install it, or leave cloud_init out of customize"
        )
    if options.grow_root and not system.has_command("growpart"):
        raise PipelineError(
            "customize.cloud_init.grow_root: the guest has no growpart",
            hint="install cloud-utils-growpart (Debian: cloud-guest-utils), or set grow_root: false",
        )
    system.write(FILE, text(options), mode=0o644)


def text(options: CloudInit) -> str:
    """Return the settings in cloud-init's own format."""
    mode = "auto" if options.grow_root else '"off"'
    lines = [f"growpart: {{mode: {mode}, devices: ['/']}}"]
    lines.append(f"resize_rootfs: {'true' if options.grow_root else 'false'}")
    if options.datasources:
        lines.append(f"datasource_list: [{', '.join(options.datasources)}]")
    return "".join(f"{line}\n" for line in lines)
