#!/bin/bash
# Boots a bare host: its root file system lies on its disk, so that what was installed
# there outlives a restart, and systemd is its first process.
#
# RUN names the run of the sandbox: the disk of another run is emptied. An empty RUN
# takes the disk as it is.
set -eu

root=/state/root
if [ ! -e /state/run ] || { [ -n "$RUN" ] && [ "$(cat /state/run)" != "$RUN" ]; }; then
	find /state -mindepth 1 -delete
	mkdir "$root"
	cp -a --one-file-system /bin /boot /etc /home /lib* /media /mnt /opt /root /sbin /srv /usr /var "$root"
	mkdir -p "$root"/{dev,proc,run,sys,tmp,below}
	chmod 1777 "$root/tmp"
	install -m 600 /host_key "$root/etc/ssh/ssh_host_ed25519_key"
	echo "$RUN" >/state/run
fi
# The engine gives another address at every start, and names are its own.
for file in hosts resolv.conf; do cat "/etc/$file" >"$root/etc/$file"; done
cat /proc/sys/kernel/hostname >"$root/etc/hostname"
hostname -I 2>/dev/null | cut -d' ' -f1 >/state/address
[ -s /state/address ] || awk '$2 == "'"$(cat /proc/sys/kernel/hostname)"'" { print $1; exit }' /etc/hosts >/state/address

mount --make-rprivate /
mount --bind "$root" "$root"
for dir in dev proc run sys tmp; do mount --rbind "/$dir" "$root/$dir"; done
# The kernel's word for "since the last boot" is about the machine below.
cat /proc/sys/kernel/random/uuid >"$root/run/boot_id"
mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"
cd "$root"
pivot_root . below
umount -l /below
export container=oci
unset RUN
exec /lib/systemd/systemd --log-target=journal
