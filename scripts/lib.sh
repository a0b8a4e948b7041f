# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the host's scripts share: where things are kept, stages with their time,
# logs and reasons, locks, and an apt of our own that needs no root.

umask 022
export LC_ALL=C.UTF-8
# Of a make that called us: its variables are not for the makes called from here.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# Used by those who source this.
# shellcheck disable=SC2034
suite=trixie
: "${HOME:=/root}"
# Resolved, so that it is one and the same path inside and outside the toolbox.
cache=$(realpath -m -- "${XDG_CACHE_HOME:-$HOME/.cache}/rust_nvme_demo")
me=${0#"$top/"}

case $top$cache in
*[[:space:]:,\'\"]*)
	echo "$me: Kbuild and QEMU can't do with blanks, colons, commas or quotes in the paths $top and $cache; move the checkout or set XDG_CACHE_HOME" >&2
	exit 1 ;;
esac

note() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { note "$@"; exit 1; }

mkdir -p "$cache/log" "$cache/lock" 2>/dev/null ||
	die "can't write to $cache; set XDG_CACHE_HOME to a place that can be written"

# Background work gets its own process group, so that stopping it stops all of it.
declare -A groups
spawn() {
	set -m
	"$@" &
	set +m
	groups[$!]=1
}
# finish PID: wait for what was spawned.
finish() {
	local rc=0
	wait "$1" || rc=$?
	unset "groups[$1]"
	return $rc
}
stop_groups() {
	local g
	for g in "${!groups[@]}"; do
		kill -TERM -- "-$g" 2>/dev/null || true
	done
	groups=()
}
trap stop_groups EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# The first thing in a log that explains a failure, and what to do about it.
reason() {
	local log=$1 line
	if grep -qs 'No space left on device\|not enough free space\|Disk quota exceeded' "$log"; then
		echo "the disk is full ($(df -Ph "$cache" | awk 'NR == 2 { print $4 " free on " $6 }')); free some 6 GB, or set XDG_CACHE_HOME to a place that has them"
	elif grep -qsE 'Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Network is unreachable|Connection (timed out|refused)' "$log"; then
		echo "no network, or no way to the mirror ($(grep -oE '(Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|Network is unreachable|Connection (timed out|refused)).*' "$log" | head -n 1)); check it, a proxy is taken from apt's configuration and http_proxy"
	elif grep -qs 'NO_PUBKEY\|EXPKEYSIG\|no_pubkey\|Sub-process /usr/bin/sqv returned' "$log"; then
		echo "the host's archive keys don't know $suite; upgrade the package debian-archive-keyring"
	elif line=$(grep -sE "Unable to locate package|Version '.*' for '.*' was not found|Can't find a source to download|404 +Not Found|does not have a Release file" "$log" | head -n 1) && [ -n "$line" ]; then
		echo "the mirror does not have it (${line#E: }); try again later, set MIRROR= to another mirror, or KVER= to another kernel"
	else
		line=$(grep -sE '^(E:|error|.*(\*\*\* [^ ]|[Ee]rror:|fatal:|refused:))' "$log" | head -n 1)
		[ -n "$line" ] || line=$(grep -m 1 "^$me: " "$log") || line=$(tail -n 1 "$log" 2>/dev/null)
		echo "${line#"$me: "}"
	fi
}

# stage NAME TEXT CMD…: runs CMD with its output in a log. One line when it is
# done, the reason when it fails; on a terminal also how far it is, in the words
# of the function $progress, which gets the log's name.
progress=count_lines
count_lines() { echo "$(wc -l <"$1") lines of log"; }
stage() {
	# The functions called see these, so none is named as one of theirs.
	local title=$1 text=$2 start=$SECONDS log pid rc=0
	shift 2
	log=$cache/log/${title,,}.$$.log
	spawn "$@" >"$log" 2>&1 </dev/null
	pid=$!
	if [ -t 2 ] && [ -z "${STAGE_QUIET:-}" ]; then
		while kill -0 "$pid" 2>/dev/null; do
			printf '\r\033[K  %-9s%s: %s, %d s' "$title" "$text" \
				"$($progress "$log" 2>/dev/null)" $((SECONDS - start)) >&2
			sleep 0.5
		done
		printf '\r\033[K' >&2
	fi
	finish "$pid" || rc=$?
	if [ "$rc" != 0 ]; then
		[ -z "${STAGE_SHOW:-}" ] || head -n "$STAGE_SHOW" "$log" >&2
		note "$title failed ($text): $(reason "$log"); log: $log"
		exit 1
	fi
	rm -f -- "$log"
	stage_done "$title" "$text" $((SECONDS - start))
}
stage_done() {
	local dots=..................................................
	printf '  %-9s%s %s %d s\n' "$1" "$2" "${dots:0:$((${#2} < 46 ? 50 - ${#2} : 4))}" "$3" >&2
}

# One run at a time makes a thing; a second one waits, and then finds it made.
declare -A lock_fds
lock() {
	local fd
	exec {fd}>"$cache/lock/$1"
	lock_fds[$1]=$fd
	flock -n "$fd" && return
	note "another run is making $1; waiting for it"
	flock "$fd"
}
# This checkout among others, in the name of a lock or folder.
checkout() { cksum <<<"$top" | cut -d' ' -f1; }
unlock() {
	local fd=${lock_fds[$1]}
	exec {fd}>&-
}

# An empty folder to make NAME in; what a run that was cut short left is removed.
# Call it with NAME's lock held.
fresh() {
	tmp=$cache/tmp/$1
	remove "$tmp"
	mkdir -p "$tmp"
}
remove() {
	[ -e "$1" ] || return 0
	[ "$(id -u)" = 0 ] || chmod -R u+rwX -- "$1"
	rm -rf --one-file-system -- "$1"
}

# Host programs by package; root gets what is missing, another user is told.
host_needs() {
	local pkg cmd missing=()
	for pkg in "$@"; do
		cmd=${pkg#*=}
		command -v "$cmd" >/dev/null || [ -e "$cmd" ] || missing+=("${pkg%%=*}")
	done
	[ ${#missing[@]} = 0 ] && return
	command -v apt-get >/dev/null ||
		die "this host lacks ${missing[*]}, and has no apt; use Debian or a relative of it, or install them by hand"
	[ "$(id -u)" = 0 ] ||
		die "this host lacks ${missing[*]}; type: sudo apt-get install ${missing[*]}"
	lock host
	stage HOST "installing ${missing[*]}" host_install "${missing[@]}"
	unlock host
}
host_install() {
	export DEBIAN_FRONTEND=noninteractive
	# A fresh machine's lists may be empty or too old.
	apt-get -y --no-install-recommends install "$@" ||
		{ apt-get update && apt-get -y --no-install-recommends install "$@"; }
}

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The Debian mirror that the host uses itself, whatever form its sources have. apt
# could tell, but not on a machine whose package lists are still empty.
mirror() {
	local uri
	if [ -n "${MIRROR:-}" ]; then
		echo "$MIRROR"
		return
	fi
	uri=$(
		# shellcheck source=/dev/null
		. /etc/os-release
		[ "${ID:-}" = debian ] || exit 0
		for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
			[ ! -r "$file" ] || { cat "$file"; echo; }
		done | awk -v suites="${VERSION_CODENAME:-} oldstable stable testing unstable sid" '
		function source(uri, suite, components) {
			if (uri ~ /security|^cdrom:/ || " " suites " " !~ " " suite " " || " " components " " !~ / main /)
				return
			# Others have a main for this suite, too.
			rank = uri ~ /\/debian\/?$/ ? 1 : 2
			if (!best || rank < best) { best = rank; found = uri }
		}
		function stanza() {
			if (field["types"] ~ /deb( |$)/ && field["enabled"] != "no") {
				split(field["uris"], uri, " ")
				split(field["suites"], suite, " ")
				source(uri[1], suite[1], field["components"])
			}
			delete field
		}
		/^[ \t]*#/ { next }
		/^[ \t]*deb[ \t]/ {
			sub(/\[[^]]*\]/, "")
			line = $0
			sub(/^[ \t]*deb[ \t]+[^ \t]+[ \t]+[^ \t]+/, "", line)
			source($2, $3, line)
			next
		}
		NF == 0 { stanza(); next }
		/^[A-Za-z-]+:/ { name = tolower(substr($1, 1, length($1) - 1)); $1 = ""; field[name] = substr($0, 2) }
		END { stanza(); print found }'
	)
	[ -n "$uri" ] ||
		die "no Debian mirror in this host's apt configuration; set MIRROR= to one, as in an apt source line"
	echo "${uri%/}"
}

# The host's way to the network (proxies, certificates, time-outs), for any apt.
apt_acquire() {
	apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(IndexTargets\|Languages\)'
	echo '#clear Acquire::Languages; Acquire::Languages "none";'
}

# The host's apt program with the lists of $suite-backports, where the kernels are.
private_apt() {
	[ "${APT_CONFIG:-}" = "$cache/apt/apt.conf" ] || configure_apt
	"$@"
}
configure_apt() {
	local dir=$cache/apt uri
	uri=$(mirror)
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
	: >"$dir/state/status"
	echo "deb [signed-by=$keyring arch=amd64] $uri $suite-backports main" >"$dir/sources.list"
	{
		apt_acquire
		cat <<-END
			Dir::Etc::Main "/dev/null";
			Dir::Etc::Parts "/dev/null";
			Dir::Etc::SourceList "$dir/sources.list";
			Dir::Etc::SourceParts "/dev/null";
			Dir::Etc::Preferences "/dev/null";
			Dir::Etc::PreferencesParts "/dev/null";
			Dir::State "$dir/state";
			Dir::State::status "$dir/state/status";
			Dir::Cache "$dir/cache";
			APT::Architecture "amd64";
			APT::Architectures "amd64";
			APT::Sandbox::User "";
			APT::Update::Error-Mode "any";
		END
	} >"$dir/apt.conf"
	export APT_CONFIG=$dir/apt.conf
}
