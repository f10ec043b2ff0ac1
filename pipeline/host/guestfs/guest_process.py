"""Run programs of the guest in its own root, as if it had started: the one way to do it.

They get a process name space and mounts of their own, so that nothing of them outlives the call: what a script left in
the background is named, asked to end, and ended. What they print goes to the appliance's memory, bounded, and comes
back as bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import appliance_shell

MOST = 64 << 20
_FOLDER = f"{appliance_shell.MEMORY}/guest"
# One message of libguestfs for both scripts: each takes an emulated appliance a while.
_MARK = "# What follows is the guest's."
# /dev/shm is the one folder of every guest that is in memory, and nobody else's.
_SCRIPT = "/dev/shm/.build-script"  # noqa: S108 - in the guest
# Process 1 of the name space. What is done to resolv.conf is undone, unless the guest itself wrote a new one; a rename
# fails for immutable files and full disks, a mount does not.
_FIRST = """g=/sysroot; cd {folder}
for each in dev proc sys etc; do
  if [ -L $g/$each ] || [ ! -d $g/$each ]; then echo "the guest has no folder /$each"; exit; fi
done
mount -t proc proc $g/proc && mount --rbind /dev $g/dev && mount --rbind /sys $g/sys || exit
mkdir -p /dev/shm; mount -t tmpfs -o mode=1777 tmpfs $g/dev/shm && mv script $g{script} || exit
resolv=$g/etc/resolv.conf kept=$g/etc/.resolv.conf.build ours=
if [ -n "{network}" ] && [ -e /etc/resolv.conf ]; then
  ours=new
  if [ -e $resolv ] || [ -L $resolv ]; then
    ours=moved; mv $resolv $kept 2>/dev/null || ours=mounted
  fi
  if [ $ours != mounted ] && ! cp /etc/resolv.conf $resolv 2>/dev/null; then
    rm -f $resolv; [ $ours = new ] || mv $kept $resolv; ours=mounted
  fi
  if [ $ours = mounted ]; then
    cp /etc/resolv.conf resolv
    [ -f $resolv ] && [ ! -L $resolv ] && mount --bind resolv $resolv || echo "the guest finds no hosts by name"
  fi
fi
chroot $g /bin/sh {script} </dev/null 2>&1
echo $? >status
left() {{
  for p in $g/proc/[0-9]*; do
    [ ${{p##*/}} != 1 ] && read -r stat 2>/dev/null <$p/stat || continue
    case "${{stat##*) }}" in Z*) ;; *) echo ${{p##*/}} ;; esac
  done
}}
# Without a subshell, which would be one of them.
wait_for() {{ n=0; while left >pids; [ -s pids ] && [ $n -lt $1 ]; do sleep 0.1; n=$((n+1)); done; }}
wait_for {grace}
while read -r n; do
  tr '\\0\\n' '  ' <$g/proc/$n/cmdline 2>/dev/null | head -c 200; echo
done <pids >left
if [ -s left ]; then kill -TERM -1; wait_for {term}; fi
if [ "$ours" = moved ] || [ "$ours" = new ]; then
  if [ -f $resolv ] && [ ! -L $resolv ] && cmp -s /etc/resolv.conf $resolv; then
    rm -f $resolv; [ $ours = new ] || mv $kept $resolv
  else
    rm -f $kept
  fi
fi
"""
_RUN = """rm -rf {folder}; mkdir -m 700 {folder}; tail -n +{lines} {file} >{folder}/script
unshare --mount --pid --fork --kill-child --propagation private sh {file} </dev/null \
  2>{folder}/stderr | {{ head -c {most} >{folder}/kept; wc -c >{folder}/rest; }}
cd {folder}; echo $(cat status 2>/dev/null || echo none) $(stat -c %s kept) $(cat rest)
head -c 8192 left 2>/dev/null | base64 -w0; echo
head -c 4096 stderr | base64 -w0; echo
head -c {piece} kept | base64 -w0"""
# Tenths of a second: for pipelines that are about to end, and for programs that were asked to.
_GRACE, _TERM = 20, 50


@dataclass(frozen=True)
class GuestOutput:
    """How a script ended. ``dropped`` bytes of output came after the most that is kept; ``left`` are the command lines
    of programs that it left running, which were ended.
    """

    status: int
    output: bytes
    dropped: int
    left: tuple[str, ...]


def run(handle: Any, script: str) -> GuestOutput:
    """Run a script by the guest's ``/bin/sh`` in its root, without input.

    Raises ``PipelineError`` when it could not be started at all.
    """
    first = _FIRST.format(
        folder=_FOLDER,
        script=_SCRIPT,
        network="yes" if handle.get_network() else "",
        grace=_GRACE,
        term=_TERM,
    )
    both = f"{first}exit\n{_MARK}\n{script}"
    file = appliance_shell.put(handle, "guest-scripts", both.encode(errors="surrogateescape"))
    lines = first.count("\n") + 3
    command = _RUN.format(file=file, lines=lines, folder=_FOLDER, most=MOST, piece=appliance_shell.PIECE)
    return _parsed(handle, str(handle.debug("sh", [command])))


def _parsed(handle: Any, reply: str) -> GuestOutput:
    head, left, stderr, data = [*reply.split("\n"), "", "", ""][:4]
    status, size, dropped = head.split()
    output = appliance_shell.decoded(data)
    if status == "none":
        words = (appliance_shell.decoded(stderr) + output).decode(errors="replace").splitlines()
        raise PipelineError("nothing can be run in the guest", details=words[-5:])
    names = appliance_shell.decoded(left).decode(errors="replace").splitlines()
    return GuestOutput(
        status=int(status),
        output=output + appliance_shell.pieces(handle, f"{_FOLDER}/kept", len(output), int(size)),
        dropped=int(dropped),
        left=tuple(name.strip() or "a program without a name" for name in names),
    )
