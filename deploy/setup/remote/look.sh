# Looks at what a host needs and prints it as lines "NAME VALUE"; what this login can't
# know is left out. It changes nothing. Arguments: the user who deploys, the folder, the
# key as authorized_keys has it in its second field, Docker's repository, and the ports
# that visitors and SSH come to.
user=$1 dir=$2 key=$3 repository=$4
shift 4
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
fact() { [ -z "$2" ] || printf '%s %s\n' "$1" "$2"; }
answer() { "$@" </dev/null 2>/dev/null; }
root=
[ "$(id -u)" != 0 ] || root=yes
fact root "$root"

# shellcheck source=/dev/null
(
	. /etc/os-release
	fact system "${PRETTY_NAME:-}"
	fact id "${ID:-}"
	fact release "${VERSION_ID:-}"
	fact codename "${VERSION_CODENAME:-}"
) 2>/dev/null
fact architecture "$(answer dpkg --print-architecture || uname -m)"
if [ -d /run/systemd/system ]; then
	fact systemd yes
	# Without D-Bus it answers root alone.
	answer systemctl show-environment >/dev/null || fact systemd-mute yes
fi

fact docker "$(answer docker version --format '{{.Server.Version}}')"
fact docker-error "$(docker version --format '{{.Server.Version}}' </dev/null 2>&1 >/dev/null | tail -n 1)"
fact compose "$(answer docker compose version --short)"
fact dockerd "$(command -v dockerd)"
for package in docker-ce docker.io; do
	[ "$(answer dpkg-query --show --showformat '${db:Status-Status}' "$package")" != installed ] || fact docker-package "$package"
done
if running=$(answer docker ps --quiet); then fact containers "$(printf %s "$running" | grep -c .)"; fi
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
	if grep -v '^[[:space:]]*#' "$list" 2>/dev/null | grep -qF "$repository" && ! grep -qi '^enabled:[[:space:]]*no' "$list"; then
		fact docker-source yes
		break
	fi
done

# Docker's settings, in one line. Those on its command line win.
settings=/etc/docker/daemon.json
if [ -e "$settings" ] && [ ! -r "$settings" ]; then
	fact settings-hidden yes
elif [ -e "$settings" ]; then
	fact settings "$(base64 "$settings" | tr -d '\n')"
	# Docker reads them when it starts.
	[ -z "$(find "$settings" -newer /run/docker.pid 2>/dev/null)" ] || fact settings-unread yes
fi
for line in /proc/[0-9]*/comm; do
	read -r name <"$line" || continue
	case $name in
	dockerd) if tr '\0' ' ' <"${line%comm}cmdline" | grep -q -e '--log-driver' -e '--log-opt'; then fact log-flags yes; fi ;;
	cron | crond) fact cron running ;;
	esac
done 2>/dev/null

if entry=$(getent passwd "$user"); then
	fact user "$user"
	fact groups " $(id -nG "$user") "
	home=$(printf '%s\n' "$entry" | cut -d : -f 6)
	fact home "$home"
	if grep -v '^[[:space:]]*#' "$home/.ssh/authorized_keys" 2>/dev/null | grep -qF -e "$key"; then fact key yes; fi
fi

# as_user COMMAND…: what the user who deploys may do.
as_user() {
	if [ "$root" ]; then
		answer runuser -u "$user" -- "$@"
	else
		answer "$@"
	fi
}
if [ -e "$dir" ] || [ -L "$dir" ]; then
	if as_user test -d "$dir" && as_user test -w "$dir" && as_user test -x "$dir"; then
		fact folder writable
	elif [ -d "$dir" ] && [ -z "$(ls -A "$dir" 2>&1)" ]; then
		fact folder empty
	else
		fact folder "of $(stat -c %U "$dir")"
	fi
else
	fact folder absent
fi

if [ -d /run/systemd/system ]; then
	# Where a socket starts it, the service of SSH is none that starts by itself.
	for unit in docker.service ssh.service ssh.socket; do
		case $(answer systemctl is-enabled "$unit") in enabled | enabled-runtime | static | alias | generated) fact starts "$unit" ;; esac
	done
	if answer loginctl list-users >/dev/null; then fact logind yes; fi
fi
[ ! -e "/var/lib/systemd/linger/$user" ] || fact lingers yes
fact crontab "$(command -v crontab)"

fact memory "$(awk '/^(MemTotal|SwapTotal):/ { sum += $2 } END { printf "%d", sum }' /proc/meminfo)"
fact root-type "$(stat -f -c %T /)"
fact root-free "$(df -Pk / | awk 'NR == 2 { print $4 }')"
if answer systemd-detect-virt --container --quiet || [ -e /.dockerenv ] || [ -e /run/.containerenv ] || [ -e /run/systemd/container ]; then fact container yes; fi
if [ -e /swapfile ] || [ -L /swapfile ]; then fact swapfile yes; fi

[ "$root" ] || exit 0
# Any rule for a port counts: who made it has decided about it.
if answer ufw status | grep -q '^Status: active'; then
	fact firewall ufw
	for port; do
		! ufw status </dev/null | awk -v port="$port" '
			$1 == "OpenSSH" { $1 = "22" }
			$1 ~ "^[0-9,:]+(/tcp)?$" {
				sub("/tcp$", "", $1)
				n = split($1, list, ",")
				for (i = 1; i <= n; i++) {
					if (split(list[i], ends, ":") < 2) ends[2] = ends[1]
					if (ends[1] + 0 <= port + 0 && port + 0 <= ends[2] + 0) found = 1
				}
			}
			END { exit !found }' || fact rule "$port"
	done
elif [ "$(answer firewall-cmd --state)" = running ]; then
	fact firewall firewalld
	for port; do
		case $port in 22) service=ssh ;; 80) service=http ;; 443) service=https ;; *) service=none ;; esac
		if answer firewall-cmd --permanent --query-port="$port/tcp" >/dev/null || answer firewall-cmd --permanent --query-service="$service" >/dev/null; then fact rule "$port"; fi
	done
elif answer nft list ruleset | grep -q 'hook input.*policy drop'; then
	fact firewall nftables
elif answer iptables -S INPUT | grep -q -e '-P INPUT DROP'; then
	fact firewall iptables
fi
