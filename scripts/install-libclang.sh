#!/bin/sh
# Installs libclang where it is missing: the bindings to RocksDB are generated with it at build time.
set -eu

found() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    for library in /usr/lib/llvm*/lib/libclang*.so* /usr/lib/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib/*-linux-gnu/libclang*.so* /usr/local/lib/libclang*.so* \
        /opt/homebrew/opt/llvm/lib/libclang.dylib /usr/local/opt/llvm/lib/libclang.dylib \
        /Library/Developer/CommandLineTools/usr/lib/libclang.dylib \
        /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang.dylib; do
        case $library in *cpp*) continue ;; esac
        [ -e "$library" ] && return 0
    done
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

found && exit 0
echo "libclang is missing; installing it" >&2
if command -v apt-get >/dev/null; then
    as_root apt-get update -qq && as_root apt-get install -y -qq libclang-dev >&2 || true
elif command -v dnf >/dev/null; then
    as_root dnf install -y -q clang-devel >&2 || true
elif command -v pacman >/dev/null; then
    as_root pacman -Sy --noconfirm --needed clang >&2 || true
elif command -v brew >/dev/null; then
    brew install --quiet llvm >&2 || true
fi
found && exit 0
echo "libclang could not be installed; install it by hand (Debian: libclang-dev, Fedora: clang-devel, Arch: clang, macOS: llvm) or set LIBCLANG_PATH, then run make again" >&2
exit 1
