#!/bin/sh
# What of cloud-init is stood in for: the default user of its configuration, keys and host name, user-data that is a script.
name=$(sed -n 's/^ *name: *\([a-z][a-z0-9_-]*\)$/\1/p' /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg | tail -n 1)
echo "$name" > /etc/tiny/admin-user
if ! grep -q "^$name:" /etc/passwd; then
    echo "$name:x:1000:1000:Cloud User:/home/$name:/bin/bash" >> /etc/passwd
    echo "$name:!!:18000:0:99999:7:::" >> /etc/shadow
    echo "$name:x:1000:" >> /etc/group
    mkdir -p "/home/$name"
    chown 1000:1000 "/home/$name"
    chmod 700 "/home/$name"
fi
/usr/lib/tiny/read-seed && /usr/lib/tiny/apply-seed
