#!/bin/busybox sh
# Load the drivers of disks, find root=UUID=, let its partition fill the disk, and go there.
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do
    insmod "/modules/$module" 2> /dev/null
done < /modules/order

wanted=$(tr ' ' '\n' < /proc/cmdline | sed -n 's/^root=UUID=//p' | tail -n 1 | tr -d -)

# The UUID stands in the superblock: XFS has it at byte 32, ext4 at 1024 + 104.
uuid_of() {
    case $(dd "if=$1" bs=4 count=1 2> /dev/null) in
    XFSB) skip=32 fstype=xfs ;;
    *) skip=1128 fstype=ext4 ;;
    esac
    dd "if=$1" bs=1 skip=$skip count=16 2> /dev/null | hexdump -v -e '1/1 "%02x"'
}

find_root() {
    for device in /dev/[sv]d*; do
        [ -b "$device" ] || continue
        [ "$(uuid_of "$device")" = "$wanted" ] && uuid_of "$device" > /dev/null && return 0
    done
    return 1
}

tries=0
until find_root; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        echo "dracut-initqueue: Warning: dracut-initqueue timeout - starting timeout scripts"
        cat /proc/partitions
        exec sh
    fi
    sleep 0.1
done
/grow-partition "$device"
find_root
mount -t "$fstype" -o rw "$device" /root || {
    echo "VFS: Unable to mount root fs on $device"
    exec sh
}
mount -o move /dev /root/dev
umount /proc /sys
exec switch_root /root /sbin/init
