#!/bin/sh
# Boots the jump host: an SSH server and nothing else.
set -eu
mkdir -p /run/sshd
exec /usr/sbin/sshd -D -e
