"""Boot-test every product: the proof that it starts. How QEMU is run stays in ``host.qemu``."""
