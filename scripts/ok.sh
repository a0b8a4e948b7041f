# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For the parts of scripts/test-deb and scripts/test-boot that run in another Debian, without the checkout.

# check DESCRIPTION COMMAND…: as in selftests/common.sh.
check() {
	local rc log
	log=$(mktemp)
	# Not in a condition, because there -e would have no effect.
	set +e
	(set -e; "${@:2}") >"$log" 2>&1
	rc=$?
	set -e
	if [ $rc = 0 ]; then
		echo "ok $1"
	else
		tail -n 60 "$log" | sed 's/^/# /'
		echo "not ok $1"
	fi
	rm -f -- "$log"
}

install() { apt-get -y -q --no-install-recommends install "$@"; }

# said LOG: the results of checks, and what they say, in a log that has more in it.
said() { grep -E '^((not )?ok|#) ' "$1" || true; }
