#!/bin/sh
# Sees to it that the browser tests find a Chromium: installs Debian's where it may, else says so.
set -eu

found() { # that it runs: Ubuntu's chromium is a stub where there is no snap
    for name in ${CHROMIUM:-chromium chromium-browser google-chrome}; do
        "$name" --version >/dev/null 2>&1 && return 0
    done
    return 1
}

found && exit 0
if [ -z "${CHROMIUM:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium || true
    found && exit 0
fi
echo "the browser tests need Chromium: install chromium, or set CHROMIUM to a browser's path" >&2
exit 1
