#!/usr/bin/env bash
# Makes the image that Dockerfile.test-linux starts from, out of a Debian mirror and the Rust toolchain of this
# machine: no image registry is needed. Run as root (debootstrap makes device nodes).
#
#   docker/base.sh                      makes esker-base:bookworm
#
# IMAGE          name of the image to make           (esker-base:bookworm)
# DEBIAN_SUITE   release to install                  (bookworm)
# DEBIAN_MIRROR  where from                          (http://deb.debian.org/debian)
#
# With a registry at hand this script is not needed: build with `--build-arg BASE_IMAGE=rust:1.95-bookworm`.
set -euo pipefail

image=${IMAGE:-esker-base:bookworm}
suite=${DEBIAN_SUITE:-bookworm}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

need() { command -v "$1" >/dev/null || { echo "base.sh: $1 is missing: $2" >&2; exit 1; }; }
need debootstrap "apt-get install debootstrap"
need docker "apt-get install docker.io"
need rustc "install Rust 1.95 or newer from https://rustup.rs"
[ "$(id -u)" = 0 ] || { echo "base.sh: run as root" >&2; exit 1; }

root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT

debootstrap --variant=minbase \
    --include=build-essential,pkg-config,ca-certificates,procps,util-linux "$suite" "$root" "$mirror"

# The toolchain is a plain tree: rustup itself, and the offline documentation, stay behind.
mkdir -p "$root/usr/local/rust" "$root/usr/local/cargo"
tar -C "$(rustc --print sysroot)" --exclude=./share/doc --exclude=./share/man -cf - . | tar -C "$root/usr/local/rust" -xf -

# Certificates that the machine trusts beyond Debian's own.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
rm -rf "$root/var/cache/apt/archives"/*.deb "$root/var/lib/apt/lists"/*

tar -C "$root" --one-file-system --exclude='./proc/*' --exclude='./sys/*' -cf - . | docker import \
    --change 'ENV PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV CARGO_HOME=/usr/local/cargo' \
    - "$image"
docker run --rm "$image" cargo --version
echo "made $image"
