"""Phases by what real consoles say."""

from __future__ import annotations

import pytest

from pipeline.host.diagnosis.boot_phases import phase

CONSOLES = {
    "firmware": "SeaBIOS (version 1.16.2-debian-1.16.2-1)\n\niPXE (http://ipxe.org) 00:03.0 CA00\n",
    "boot loader": "SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\nSYSLINUX 6.04 EDD 20191223\n",
    "kernel": "[    0.000000] Linux version 6.1.0-29-cloud-amd64 (debian-kernel@lists.debian.org)\n",
    "initramfs": "[    2.105218] Run /init as init process\nLoading, please wait...\n",
    "installer started": "[  OK  ] Reached target Local File Systems.\nStarting installer, one moment...\n",
    "pre-installation scripts": "anaconda 21.48.22.158-1 for Red Hat 7.9 started.\nRunning pre-installation scripts\n",
    "choosing packages": "Saving storage configuration...\nChecking software selection\n",
    "partitioning": "Creating ext4 on /dev/vda1\n.\nCreating xfs on /dev/vda2\n",
    "installing packages": "Starting package installation process\nInstalling libgcc (1/308)\nInstalling setup"
    " (2/308)\n",
    "boot loader installation": "Performing post-installation setup tasks\nInstalling boot loader\n",
    "post-installation scripts": "Installing boot loader\n.\nRunning post-installation scripts\n",
    "end of the installation": "Running post-installation scripts\n.\nStoring configuration files and kickstarts\n",
    "cloud-init": "[   31.1] cloud-init[410]: Cloud-init v. 22.4.2 running 'init' at Mon, 01 Jan 2024 00:00:00\n",
    "first boot is over": "Cloud-init v. 22.4.2 finished at Mon, 01 Jan 2024 00:00:09 +0000. Datasource NoCloud\n",
    "powering off": "debian login: \n[  OK  ] Reached target Power-Off.\n[   99.0] reboot: Power down\n",
}


@pytest.mark.parametrize(("name", "text"), CONSOLES.items(), ids=CONSOLES)
def test_phases(name: str, text: str) -> None:
    assert phase(text) == name


def test_unknown_words_are_no_phase() -> None:
    assert phase("") is None
    assert phase("hello\n") is None
