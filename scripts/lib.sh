# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Functions that the host's scripts share: paths, stages with their times, logs and reasons,
# locks, and a private apt that needs no root.

umask 022
export LC_ALL=C.UTF-8
# Variables of the calling make must not reach the makes called from here, and some programs
# take options from the environment.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MAKEFILES CDPATH TAR_OPTIONS XZ_OPT XZ_DEFAULTS

top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# Scripts that source this file use these.
# shellcheck disable=SC2034
suite=${SUITE:-trixie}
# The kernel series that the module here supports, newest first.
all_series=(7.3 7.2)
# The architecture of the kernel and of a guest. The toolbox's programs are amd64's.
arch=amd64
case ${KVER:-}-${FLAVOUR:-} in *arm64*) arch=arm64 ;; esac
# impossible TOPOLOGY: prints why no guest of this architecture can have these devices, if that is so.
impossible() {
	case $arch-$1 in
	arm64-sleep) echo "QEMU's machine of arm64 can't suspend to RAM" ;;
	esac
}
default_only() {
	[ "$arch" = amd64 ] ||
		die "arm64 isn't possible here; FLAVOUR=arm64 is for make, make demo, make shell, make sample, make test, make verify, make races, make top and make matrix"
	trixie_only
}
trixie_only() {
	[ "$suite" = trixie ] ||
		die "SUITE=$suite isn't possible here; it is for make, make demo, make shell, make sample, make test and make matrix"
}
# Without HOME, ~ is from the user database.
[ -n "${HOME:-}" ] || unset HOME
cache=~
cache=${XDG_CACHE_HOME:-$cache/.cache}/rust_nvme_demo
me=${0#"$top/"}

# Whether this runs in the toolbox, see scripts/toolbox.
inside() { [ -n "${TOOLBOX:-}" ] && [ "$TOOLBOX/usr" -ef /usr ]; }

note() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { note "$@"; exit 1; }

# Where the kernels of that Debian are, which compiler builds them, and how their versions end.
# shellcheck disable=SC2034
case $suite in
trixie)	kernels=trixie-backports gcc=gcc-14 abi=deb13 ;;
forky | sid) kernels=$suite gcc=gcc-16 abi=deb14 ;;
*)	die "SUITE=$suite: there are trixie, forky and sid" ;;
esac
# In names in the cache, but for the default.
prefix=''
[ "$suite" = trixie ] || prefix=$suite-

# check_path PATH REMEDY: refuses characters that mean something to make, Kbuild, QEMU or a shell
# between them.
check_path() {
	case $1 in
	*[![:alnum:]/._+@~-]*)
		die "Kbuild and QEMU can't take the path $1, only letters, digits and /._+@~- in it; $2" ;;
	esac
}
[[ $cache = /* ]] || die "XDG_CACHE_HOME=$XDG_CACHE_HOME must begin with a /"
# Resolved, so that the path is the same inside and outside the toolbox.
cache=$(realpath -m -- "$cache")
check_path "$top" "move the checkout"
check_path "$cache" "set XDG_CACHE_HOME to another place"

# A guest's machine runs in a toolbox that can't write to it.
if ! mkdir -p "$cache/log" "$cache/lock" 2>/dev/null || { ! inside && [ ! -w "$cache/lock" ]; }; then
	die "can't write to $cache; set XDG_CACHE_HOME to a place that can be written"
fi

# Background work gets its own process group, so that stopping it stops all of it.
declare -A groups
spawn() {
	set -m
	"$@" &
	set +m
	groups[$!]=1
}
# finish PID: wait for a spawned process.
finish() {
	local rc=0
	wait "$1" || rc=$?
	unset "groups[$1]"
	return $rc
}
# Bash runs a trap only after the foreground command has ended, but at once during wait. So
# commands that may take long run by these functions: foreground CMD…, and capture VARIABLE CMD…
# for the output of CMD.
foreground() { spawn "$@"; finish $!; }
capture() {
	local out
	mkdir -p "$cache/tmp"
	out=$(mktemp "$cache/tmp/out.XXXXXX")
	spawn "${@:2}" >"$out"
	finish $! || { set -- $?; rm -f -- "$out"; return "$1"; }
	printf -v "$1" %s "$(<"$out")"
	rm -f -- "$out"
}
# Give the groups a moment to stop their own children.
stop_groups() {
	local g i
	for g in "${!groups[@]}"; do
		kill -TERM -- "-$g" 2>/dev/null || unset "groups[$g]"
	done
	for g in "${!groups[@]}"; do
		for ((i = 0; i < 20; i++)); do
			kill -0 -- "-$g" 2>/dev/null || break
			sleep 0.1
		done
	done
	groups=()
}
trap stop_groups EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Whether the module here supports the requested kernel.
check_series() {
	local series
	for series in "${all_series[@]}"; do
		case ${KVER:-$series} in "$series" | "$series"[.+~-]*) return ;; esac
	done
	die "KVER=$KVER: this module can be built for kernels of the series ${all_series[*]} only; leave KVER= out for the newest of them"
}

# The first line of a log that explains a failure, and a remedy.
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

# stage NAME TEXT CMD…: runs CMD with its output in a log. Prints a line on success, and the
# reason on failure. On a terminal it shows CMD's progress, from the function $progress, which
# gets the log's name; elsewhere it prints a line after 10 s, and then every 30 s. With
# STAGE_GO_ON=1 a failure doesn't exit, but sets $stage_rc. Don't call it in a condition,
# because CMD would then continue after a failed command.
progress=count_lines
count_lines() { echo "$(wc -l <"$1") lines of log"; }
# The progress of make: the number of its steps, and the last step.
make_steps() {
	awk '/^  [A-Z]/ { n++; last = $0 } END { gsub(/ +/, " ", last); printf "step %d,%s", n, substr(last, 1, 40) }' "$1"
}
stage_rc=0
stage() {
	# Called functions see these variables, so their names must not collide.
	local title=$1 text=$2 start=$SECONDS log
	shift 2
	log=$cache/log/${title,,}.$$.log
	spawn "$@" >"$log" 2>&1 </dev/null
	stage_rc=0
	attend "$title" "$text" $! "$log" "$start" || stage_rc=1
	[ $stage_rc = 0 ] || [ -n "${STAGE_GO_ON:-}" ] || exit 1
}
# attend NAME TEXT PID LOG START: the rest of a stage: waits for the spawned PID.
attend() {
	local title=$1 text=$2 pid=$3 log=$4 start=$5 next=10 rc=0 now
	while kill -0 "$pid" 2>/dev/null; do
		now=$((SECONDS - start))
		if [ -t 2 ]; then
			printf '\r\033[K  %-9s%s: %s, %d s' "$title" "$text" \
				"$($progress "$log" 2>/dev/null)" "$now" >&2
		elif [ "$now" -ge "$next" ]; then
			next=$((now + 30))
			printf '  %-9s%s: running for %d s, %s\n' "$title" "$text" "$now" \
				"$($progress "$log" 2>/dev/null)" >&2
		fi
		sleep 0.2
	done
	[ ! -t 2 ] || printf '\r\033[K' >&2
	finish "$pid" || rc=$?
	if [ "$rc" != 0 ]; then
		[ -z "${STAGE_SHOW:-}" ] || head -n "$STAGE_SHOW" "$log" >&2
		# Remove logs of older failures.
		find "$cache/log" "$cache/tmp" -maxdepth 1 -type f -mtime +7 -delete 2>/dev/null || true
		note "$title failed ($text): $(reason "$log"); log: $log"
		return 1
	fi
	rm -f -- "$log"
	stage_done "$title" "$text" $((SECONDS - start))
}
stage_done() {
	local dots=..................................................
	printf '  %-9s%s %s %d s\n' "$1" "$2" "${dots:0:$((${#2} < 46 ? 50 - ${#2} : 4))}" "$3" >&2
}

# Only one run at a time creates a thing; a second run waits, and then uses it.
declare -A lock_fds
lock() {
	local fd
	exec {fd}>"$cache/lock/$1"
	lock_fds[$1]=$fd
	flock -n "$fd" && return
	note "another run is making $1; waiting for it"
	foreground flock "$fd"
}
# Identifies this checkout in the name of a lock or folder.
checkout() { cksum <<<"$top" | cut -d' ' -f1; }
unlock() {
	local fd=${lock_fds[$1]}
	exec {fd}>&-
}

# An empty folder for creating NAME; removes leftovers of an interrupted run. Call it with
# NAME's lock held.
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

# Host programs by package: installs missing packages for root, and tells other users.
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
	# A new machine's lists may be empty or too old.
	apt-get -y --no-install-recommends install "$@" ||
		{ apt-get update && apt-get -y --no-install-recommends install "$@"; }
}

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The host's Debian mirror, from any format of its sources. apt doesn't know it while the
# machine's package lists are empty.
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
			# Other repositories have a main component for this suite, too.
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
		die "no Debian mirror in this host's apt configuration (it is $(. /etc/os-release; echo "${PRETTY_NAME:-no Debian}")); give one that has $suite and $kernels, in the form of an apt source line: MIRROR=http://HOST/debian"
	echo "${uri%/}"
}

# The host's network settings (proxies, certificates, time-outs), for any apt.
apt_acquire() {
	apt-config dump | grep '^Acquire::' | grep -v '^Acquire::\(IndexTargets\|Languages\)'
	echo '#clear Acquire::Languages; Acquire::Languages "none";'
}

# complaints CONSOLE: the messages on a guest's console that fail a run, even if its command succeeds. Only
# the kernel's lines have a time stamp.
complaints() {
	tr -d '\r' <"$1" | grep -aE '\[ *[0-9]+\.[0-9]+\]' | our_races |
		grep -avE -f <(sed -n 's/^!//p' "$top/qemu/complaints") |
		grep -aE -m 20 -f <(grep -v '^[!#]\|^$' "$top/qemu/complaints") || true
}
# The kernel has data races, too. A race is ours if one of its two accesses is in our module.
our_races() {
	awk '
	/BUG: KCSAN: / { race = $0; next }
	first { if (race && /\[rust_nvme_demo\]/) { print race; race = "" } }
	{ first = / by (task|interrupt)/; print }'
}

# kernel_source: sets kver to the kernel's release, deb to the package with its source, and source to the folder in that.
kernel_source() {
	capture kver "$top/scripts/kdir"
	kver=${kver%/*}
	# kdir has downloaded the packages.
	deb=$(awk -v c="$cache/deb/" '$1 ~ /^linux-source-/ { print c $1 }' "$kver/debs")
	kver=${kver##*/}
	source=${deb##*/}
	source=${source%%_*}
}
need_source() {
	[ -f "$deb" ] || die "the package of the kernel's source is gone from $cache/deb; remove $cache/kernel/$kver and run this again"
}
# The source itself, as a compressed tar archive.
source_tar() {
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$source.tar.xz"
}
# with_clang COMMAND…: runs it in the toolbox that has clang, without the caller's environment.
with_clang() {
	"$top/scripts/toolbox" --clang env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 HOME=/tmp "$@"
}

# debian DIR 'SUITE…' MMDEBSTRAP-OPTION…: installs $suite, with packages of these suites, into the folder DIR, where the
# user owns all files.
debian() {
	local dir=$1 suites=$2 uri from sources=() options=("${@:3}")
	uri=$(mirror)
	for from in $suites; do
		sources+=("deb $uri $from main")
	done
	apt_acquire >"$dir.acquire"
	options+=(--keyring="$keyring" --aptopt="$dir.acquire" --dpkgopt=force-unsafe-io "$suite")
	mkdir "$dir"
	if [ "$(id -u)" = 0 ]; then
		# Its mounts vanish with it, even if it is killed.
		unshare --mount mmdebstrap --mode=root "${options[@]}" "$dir" "${sources[@]}"
	else
		mmdebstrap --mode=unshare "${options[@]}" - "${sources[@]}" |
			tar -x -C "$dir" --no-same-owner --exclude='./dev/*'
	fi
	rm "$dir.acquire"
}

# another_debian DIR RELEASE MMDEBSTRAP-OPTION…: the same with results/deb/ in its /debs, and there the script that calls
# this, which is then run in it, with --inside, RELEASE of the kernel and the suite that has the kernel's packages.
another_debian() {
	local script=${0##*/}
	# shellcheck disable=SC2016 # for the shell of the hooks
	debian "$1" "$suite $kernels" --architectures=amd64 "${@:3}" --customize-hook='mkdir "$1/debs"' \
		--customize-hook="copy-in $(echo "$top"/scripts/{"$script",ok.sh} "$top"/results/deb/*) /debs" \
		--customize-hook="chroot \"\$1\" /debs/$script --inside '$2' '$kernels'"
}

# The host's apt program with the lists of $kernels.
private_apt() {
	local dir=$cache/apt-$prefix$arch
	if [ "${APT_CONFIG:-}" != "$dir/apt.conf" ]; then
		mkdir -p "$dir/state"
		: >"$dir/state/status"
		configure_apt "$dir" "$dir/state/status" "$kernels"
	fi
	"$@"
}
# configure_apt DIR STATUS SUITE: apt keeps all its files in DIR, reads the installed packages from STATUS,
# and uses only SUITE, for $arch.
configure_apt() {
	local dir=$1 uri
	uri=$(mirror)
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial"
	echo "deb [signed-by=$keyring arch=$arch] $uri $3 main" >"$dir/sources.list"
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
			Dir::State::status "$2";
			Dir::Cache "$dir/cache";
			APT::Architecture "$arch";
			APT::Architectures "$arch";
			APT::Sandbox::User "";
			APT::Update::Error-Mode "any";
		END
	} >"$dir/apt.conf"
	export APT_CONFIG=$dir/apt.conf
}
