#!/bin/sh
# put the compose set, its .env and the record into releases/
set -eu

# What the plan was made for has to be what is there.
[ "$(readlink '/srv/erp next/current' || true)" = releases/1.0.0 ] || { echo "another release went live since this one was planned"; exit 1; }
# A run that was interrupted here has moved it already.
if [ -e '/srv/erp next/runs/000007-1.0.1-abcd/release' ]; then
	[ ! -e '/srv/erp next/releases/1.0.1' ] || { echo "version 1.0.1 is on the host already"; exit 1; }
	mkdir -p '/srv/erp next/releases' '/srv/erp next/backups'
	mv '/srv/erp next/runs/000007-1.0.1-abcd/release' '/srv/erp next/releases/1.0.1'
fi
