#!/bin/busybox sh
# Load the drivers, then hand over to the stand-in for Windows Setup.
/bin/busybox mkdir -p /proc /sys /dev /mnt /tmp
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin:/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
# UEFI firmware leaves the IDE ports of a pc (PIIX3) off once it has started from them, and ata_piix believes it. The enable
# bits are the highest ones of the registers 0x40 and 0x42 (IDETIM).
for card in /sys/bus/pci/devices/*; do
    [ "$(cat "$card/vendor" "$card/device" | tr '\n' ' ')" = "0x8086 0x7010 " ] || continue
    for register in 65 67; do
        printf '\200' | dd "of=$card/config" bs=1 seek=$register conv=notrunc 2> /dev/null
    done
done
while read -r module; do
    insmod "/modules/$module" 2> /dev/null
done < /modules/order
sleep 1
cd /
PYTHONHOME=/usr PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -S -m tests.environments.windows.guest.main > /dev/tty0 2> /dev/ttyS0
echo "stand-in: it ended with $?" > /dev/ttyS0
while :; do sleep 60; done
