# What the scripts share. Sourced, not run.

say() { printf '==> %s\n' "$*" >&2; }

die() { say "$*"; exit 1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

can_install() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }
}

# apt_install PACKAGE...: Debian's packages, said before they are installed.
apt_install() {
  can_install || die "missing: $*. Debian: apt-get install $* (needs root or sudo)"
  say "installing from Debian's packages: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null >/dev/null
  # No service is to start with it: the tests start their own.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}
