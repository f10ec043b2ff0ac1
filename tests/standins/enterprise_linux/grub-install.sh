#!/bin/sh
# GRUB 2 that reads the older GRUB's configuration, /boot/grub/grub.conf, at each start.
set -e
modules="biosdisk part_msdos ext2 legacycfg normal linux linux16 serial terminal configfile search echo"
cat > /tmp/embedded.cfg << 'EOF'
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set root=(hd0,msdos1)
legacy_configfile /boot/grub/grub.conf
EOF
# shellcheck disable=SC2086
grub-mkimage -O i386-pc -p "(hd0,msdos1)/boot/grub" -c /tmp/embedded.cfg -o /boot/grub/core.img $modules
mkdir -p /boot/grub/i386-pc
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst /boot/grub/i386-pc/
cp /usr/lib/grub/i386-pc/boot.img /boot/grub/boot.img
/usr/lib/grub/i386-pc/grub-bios-setup -d /boot/grub "$1"
rm /tmp/embedded.cfg
