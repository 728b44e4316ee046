# What has a run go on by itself after a restart of the host, or when its
# process was killed: once a minute systemd calls "runner wake", or where there
# is no systemd the user's crontab. $id is the run and $run its folder.
#
# Neither has the PATH of a login: the one with which the run was started is in
# its file environment.

# systemd: whether systemd wakes what belongs to this user. Root has units of
# the system. Another user has units of their own, which systemd minds after a
# restart only where they may linger.
systemd() {
	command -v systemctl >/dev/null || return 1
	if [ "$(id -u)" = 0 ]; then
		scope=--system units=/etc/systemd/system
	else
		scope=--user units=${XDG_CONFIG_HOME:-${HOME:-/nonexistent}/.config}/systemd/user
		XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
		export XDG_RUNTIME_DIR
	fi
	# systemd itself goes by this variable too.
	[ -z "${SYSTEMD_UNIT_PATH:-}" ] || units=${SYSTEMD_UNIT_PATH%%:*}
	[ "$scope" = --system ] || lingers || return 1
	systemctl "$scope" show-environment </dev/null >/dev/null 2>&1
}

# host_stops: whether the host is being stopped or restarted, as far as systemd
# says so.
host_stops() {
	command -v systemctl >/dev/null && [ "$(systemctl is-system-running </dev/null 2>/dev/null)" = stopping ]
}

lingers() { loginctl show-user "$(id -un)" -p Linger </dev/null 2>/dev/null | grep -qx Linger=yes; }

# waker: the word for what would wake a run: systemd, cron or nothing.
waker() { if systemd; then echo systemd; elif command -v crontab >/dev/null; then echo cron; fi; }

# unit_word TEXT: a text as one quoted word of a unit file.
unit_word() { printf '"%s"\n' "$(printf '%s' "$1" | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g' -e 's/\$/$$/g')"; }

arm_systemd() {
	if [ "$(id -u)" != 0 ] && command -v loginctl >/dev/null && ! lingers; then
		loginctl --no-ask-password enable-linger </dev/null >/dev/null 2>&1
	fi
	systemd || return 1
	name=deploy-run-$id
	# Where the run is stopped with the host, nothing but its runner is told: what
	# the step under way does is cut off with it, and done again.
	mkdir -p "$units" && cat >"$units/$name.service" <<-END && cat >"$units/$name.timer" <<-END2 || return 1
		# Made by a run of the pipeline, which removes it at its end.
		[Unit]
		Description=Carries on with run $(printf '%s' "$id" | sed 's/%/%%/g')

		[Service]
		Type=oneshot
		$([ "$scope" = --user ] || echo User=root)
		ExecStart=/bin/sh -c $(unit_word 'exec /bin/sh "$1/runner" wake >>"$1/log" 2>&1') sh $(unit_word "$run")
		KillMode=process
		TimeoutStopSec=5
		SuccessExitStatus=3 4 10
	END
		# Made by a run of the pipeline, which removes it at its end.
		[Unit]
		Description=Carries on with run $(printf '%s' "$id" | sed 's/%/%%/g') when its process is gone

		[Timer]
		OnBootSec=5
		OnCalendar=minutely
		AccuracySec=1

		[Install]
		WantedBy=timers.target
	END2
	# systemd complains of units that only their owner may read, and they have no
	# secrets.
	chmod 644 "$units/$name.service" "$units/$name.timer"
	systemctl "$scope" daemon-reload </dev/null >/dev/null 2>&1 &&
		systemctl "$scope" enable --now "$name.timer" </dev/null >/dev/null 2>&1 || return 1
	# The units have to be there after a power cut.
	sync -f "$units" 2>/dev/null || sync
}

disarm_systemd() {
	command -v systemctl >/dev/null || return 0
	systemd
	name=deploy-run-$id
	[ -f "$units/$name.timer" ] || [ -f "$units/$name.service" ] || return 0
	# Not the service: this may be it. So systemd must not read its units again: of
	# one whose file is gone it would end all processes, for having started too long.
	systemctl "$scope" --no-reload disable --now "$name.timer" </dev/null >/dev/null 2>&1
	rm -f "$units/$name.timer" "$units/$name.service" "$units/timers.target.wants/$name.timer"
}

# quoted: the run's folder within quotes in a crontab.
quoted() { printf '%s\n' "$run" | sed -e "s/'/'\\\\''/g" -e 's/%/\\%/g'; }

# others: the lines of the user's crontab that are not of this run. Where it
# can't be read it is left alone. What it says beside them is no line of it.
others() {
	said=$run/crontab.$$
	if ! lines=$(crontab -l 2>"$said"); then
		why=$(cat "$said")
		rm -f "$said"
		case $why in
		*"no crontab"* | *"can't open"*) lines= ;;
		*) return 1 ;;
		esac
	fi
	rm -f "$said"
	[ -z "$lines" ] || printf '%s\n' "$lines" | grep -vxF "# run $id" | grep -vF "$(quoted)/runner" || true
}

arm_cron() {
	command -v crontab >/dev/null && kept=$(others) && {
		[ -z "$kept" ] || printf '%s\n' "$kept"
		echo "# run $id"
		echo "@reboot sh '$(quoted)/runner' wake >>'$(quoted)/log' 2>&1"
		echo "* * * * * sh '$(quoted)/runner' wake >>'$(quoted)/log' 2>&1"
	} | crontab - 2>/dev/null || return 1
	# Where cron keeps it only cron knows.
	sync
}

disarm_cron() {
	command -v crontab >/dev/null && crontab -l 2>/dev/null | grep -qF "$(quoted)/runner" || return 0
	kept=$(others) || return 0
	{ [ -z "$kept" ] || printf '%s\n' "$kept"; } | crontab - 2>/dev/null
}

arm() {
	if arm_systemd; then return; fi
	disarm_systemd
	if arm_cron; then return; fi
	echo "neither systemd nor cron wakes this run: after a restart of the host call resume"
}

disarm() {
	disarm_systemd
	disarm_cron
}

# What docker needs of the environment beside PATH: where it finds its plugins,
# its settings and its engine.
# keep_environment: writes down what wake needs; use_environment: takes it up.
keep_environment() {
	env | grep -E '^(PATH|HOME|DOCKER_(HOST|CONTEXT|CONFIG|TLS_VERIFY|CERT_PATH)|XDG_RUNTIME_DIR)=' >environment.part && mv -f environment.part environment
}
use_environment() {
	[ -f environment ] || return 0
	while IFS= read -r line; do
		case $line in
		PATH=?* | HOME=* | DOCKER_HOST=* | DOCKER_CONTEXT=* | DOCKER_CONFIG=* | DOCKER_TLS_VERIFY=* | DOCKER_CERT_PATH=* | XDG_RUNTIME_DIR=*)
			export "${line%%=*}=${line#*=}"
			;;
		esac
	done <environment
}
