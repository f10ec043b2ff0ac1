#!/bin/sh
# subscription-manager, against a Content Delivery Network that knows one account and one key: it leaves the files the real one does.
consumer=/etc/pki/consumer/cert.pem
registered() {
    [ -e $consumer ] || { echo "This system is not yet registered. Try 'subscription-manager register --help'."; exit 1; }
}
option() { # NAME WORD...
    name=$1
    shift
    for word; do
        case $word in --"$name"=*) echo "${word#*=}" ;; esac
    done
}
what=$1
shift
echo "$(date) $what" >> /var/log/rhsm/rhsm.log
case $what in
register)
    user=$(option username "$@")
    password=$(option password "$@")
    org=$(option org "$@")
    key=$(option activationkey "$@")
    # By their digests: this file is in the image, where the tests look for them in vain.
    case $(printf '%s' "$user$org:$password$key" | sha256sum) in
    d07a8648682d500c5c7edefca97c2a5556072108c2d78d8b42abd7be1435d930* | c22ed67a334256b3d5a5dbccef614f19badb2d9b315b3cbec4cc911359013e60*) ;;
    *) echo "Invalid username or password."; exit 70 ;;
    esac
    mkdir -p /etc/pki/consumer
    echo certificate > $consumer
    echo key > /etc/pki/consumer/key.pem
    echo "The system has been registered with ID: 2f9c"
    ;;
attach)
    registered
    pool=$(option pool "$@")
    [ "$*" = --auto ] || [ "$pool" = pool-1 ] || { echo "Pool with id $pool could not be found."; exit 1; }
    mkdir -p /etc/pki/entitlement
    echo entitlement > /etc/pki/entitlement/1.pem
    ;;
repos)
    registered
    case $1 in
    --enable=*) printf '[%s]\nbaseurl=%s\nenabled=1\n' "${1#*=}" "$(sed -n 's/^baseurl = //p' /etc/rhsm/rhsm.conf)" > /etc/yum.repos.d/redhat.repo ;;
    --disable=\*) rm -f /etc/yum.repos.d/redhat.repo ;;
    *) echo "repos: not understood: $1"; exit 1 ;;
    esac
    ;;
unregister)
    registered
    rm -f /etc/pki/consumer/* /etc/pki/entitlement/*
    echo "System has been unregistered."
    ;;
*) echo "subscription-manager: not understood: $what"; exit 1 ;;
esac
