#!/bin/sh
# What the tests look for: that the configuration of the image is what the guest runs by.
# shellcheck source=/dev/null
. /etc/sysconfig/network-scripts/ifcfg-eth0
echo "standin: $(cat /etc/redhat-release), $DEVICE by $BOOTPROTO, root $(df -m / | awk 'NR == 2 { print $2 }') MiB" > /dev/console
echo "standin: ready after $(cut -d' ' -f1 /proc/uptime) s, datasource $(cat /run/seed/source)" > /dev/console
