#!/bin/busybox sh
# Load the drivers, then hand over to the stand-in for Windows Setup.
/bin/busybox mkdir -p /proc /sys /dev /mnt /tmp
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin:/usr/sbin:/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/modules/$module" 2> /dev/null
done < /modules/order
sleep 1
cd /
PYTHONHOME=/usr PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -S -m tests.environments.windows.guest.main > /dev/tty0 2> /dev/ttyS0
echo "stand-in: it ended with $?" > /dev/ttyS0
while :; do sleep 60; done
