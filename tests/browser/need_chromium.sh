#!/bin/sh
# Sees to it that the browser tests find a Chromium: installs Debian's where it may, else says so.
set -eu

[ -n "${CHROMIUM:-}" ] && exit 0
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium && exit 0
fi
echo "the browser tests need Chromium: install chromium, or set CHROMIUM to a browser's path" >&2
exit 1
