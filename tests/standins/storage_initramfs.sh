#!/bin/busybox sh
# Load the drivers of disks, make LVM's volumes known, find the root, and go there.
/bin/busybox mkdir -p /proc /sys /dev /root /run/lock /etc
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/modules/$module" 2> /dev/null
done < /modules/order

argument() {
    tr ' ' '\n' < /proc/cmdline | sed -n "s/^$1=//p" | tail -n 1
}

root=$(argument root)
find_root() {
    case $root in
    /dev/mapper/*) lvm vgchange -q -a y --sysinit > /lvm.log 2>&1; [ -b "$root" ] && echo "$root" ;;
    *) findfs "$root" 2> /dev/null ;;
    esac
}

tries=0
until device=$(find_root); do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        echo "ALERT! $root does not exist. Dropping to a shell!"
        cat /proc/partitions /lvm.log
        exec sh
    fi
    sleep 0.1
done
mount -t "$(argument rootfstype)" -o rw "$device" /root || {
    echo "VFS: Unable to mount root fs on $device"
    exec sh
}
echo "standin: root on $device"
mount -o move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
