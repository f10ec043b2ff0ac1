from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import user_namespace

# What unshare(1) of util-linux 2.38 said in each case.
CASES = {
    "unshare: failed to execute newuidmap: No such file or directory": "install uidmap",
    'unshare: no line matching user "web" in /etc/subuid: Success': "sudo usermod --add-subuids .* web",
    "unshare: you (user 61000) don't exist.": "a user that this machine knows",
    "unshare: unrecognized option '--map-auto'": "util-linux 2.38",
    "unshare: unshare failed: Operation not permitted": "kernel.unprivileged_userns_clone",
    "unshare: unshare failed: No space left on device": "user.max_user_namespaces",
}


@pytest.mark.parametrize(("said", "remedy"), CASES.items())
def test_each_refusal_says_what_to_do(said: str, remedy: str) -> None:
    error = user_namespace.refusal("mmdebstrap", said, "web")
    assert error.message.startswith("mmdebstrap needs more users than one, and this user is lent none")
    assert error.details == (said,)
    assert re.search(remedy, str(error.hint))


def test_root_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert user_namespace.as_root(["mmdebstrap", "--version"]) == ["mmdebstrap", "--version"]


@pytest.mark.subprocess
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without a name")
def test_a_user_without_lent_ids_gets_one_clear_error() -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from pipeline.base.errors import PipelineError\n"
        "from pipeline.host.system import user_namespace\n"
        "os.setgroups([]); os.setgid(61000); os.setuid(61000)\n"
        "try: user_namespace.as_root(['mmdebstrap'])\n"
        "except PipelineError as error: print(error.message, '|', error.hint)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    assert said.startswith("mmdebstrap needs more users than one, and this user is lent none")
