#!/bin/sh
# subscription-manager, against a Content Delivery Network that knows one account: it leaves the files the real one does.
consumer=/etc/pki/consumer/cert.pem
registered() {
    [ -e $consumer ] || { echo "This system is not yet registered. Try 'subscription-manager register --help'."; exit 1; }
}
option() {
    for word; do
        case $word in --"$name"=*) echo "${word#*=}" ;; esac
    done
}
what=$1
shift
echo "$(date) $what" >> /var/log/rhsm/rhsm.log
case $what in
register)
    name=username user=$(option "$@") name=password password=$(option "$@")
    name=org org=$(option "$@") name=activationkey key=$(option "$@")
    [ "$user:$password" = "builder:correct-horse" ] || [ "$org:$key" = "1234:the-key" ] ||
        { echo "Invalid username or password."; exit 70; }
    mkdir -p /etc/pki/consumer
    echo certificate > $consumer
    echo key > /etc/pki/consumer/key.pem
    echo "The system has been registered with ID: 2f9c"
    ;;
attach)
    registered
    name=pool pool=$(option "$@")
    [ "$*" = --auto ] || [ "$pool" = pool-1 ] || { echo "Pool with id $pool could not be found."; exit 1; }
    mkdir -p /etc/pki/entitlement
    echo entitlement > /etc/pki/entitlement/1.pem
    ;;
repos)
    registered
    case $1 in
    --enable=*) printf '[%s]\nbaseurl=%s\nenabled=1\n' "${1#*=}" "$(cat /etc/cdn)" > /etc/yum.repos.d/redhat.repo ;;
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
