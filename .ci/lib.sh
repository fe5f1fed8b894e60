# What .ci/run and .ci/more share. Sourced, from the root of the project.

export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never CARGO_NET_RETRY=5
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
TARGET="${CARGO_TARGET_DIR:-$PWD/target}"
DEBIAN_TARGET="$TARGET/debian"
FUZZ_TARGETS="$(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v headwater)"
MSRV="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)"
REPORT=""

# step NAME COMMAND...: says what it does, does it, notes how long it took.
step() {
    local name="$1" begun=$SECONDS
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@"
    REPORT+="$(printf '%5d s  %s' $((SECONDS - begun)) "$name")"$'\n'
}

finish() {
    printf '\n%sAll steps passed in %d s.\n' "$REPORT" "$SECONDS"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs Debian packages that are missing (NAME or NAME=VERSION).
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends --allow-downgrades "$@"
}

# Debian's compiler of the minimum supported version, beside whatever rustup has.
debian() {
    env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" CARGO_TARGET_DIR="$DEBIAN_TARGET" "$@"
}

debian_compiler_is_msrv() {
    [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src ] &&
        /usr/bin/rustc --version | grep >/dev/null "^rustc ${MSRV//./\\.}\."
}

# The minimum supported compiler, its sources for building core and alloc, and a linker that
# knows wasm and bare metal. Debian 12 calls the packages rustc-web and so on, Debian 13 rustc.
install_debian_compiler() {
    local suffix version
    if ! debian_compiler_is_msrv || ! command -v ld.lld-19 || ! command -v wasm-ld-19; then
        as_root apt-get update -q
        apt_install lld-19
    fi
    for suffix in -web ""; do
        debian_compiler_is_msrv && break
        version="$(apt-cache madison "rustc$suffix" | awk -F ' *[|] *' -v v="$MSRV." \
            'index($2, v) == 1 { print $2; exit }')"
        [ -n "$version" ] || continue
        apt_install {rustc,cargo}"$suffix=$version" "rust$suffix-src=$version" \
            "libstd-rust$suffix-dev=$version"
    done
    if ! debian_compiler_is_msrv; then
        echo "Rust $MSRV is not among Debian's packages here." >&2
        return 1
    fi
    /usr/bin/rustc --version
}

has_nightly() {
    rustup toolchain list 2>/dev/null | grep '^nightly' >/dev/null
}

install_cargo_fuzz() {
    command -v cargo-fuzz || cargo install --locked --debug cargo-fuzz
}

# fuzz SECONDS: builds the targets, and runs each for so long, from its committed corpus. What
# is new goes to the build directory.
fuzz() {
    local target grown
    cargo +nightly fuzz build
    for target in $FUZZ_TARGETS; do
        grown="$TARGET/fuzz-grown/$target"
        mkdir -p "$grown"
        printf '\n-- %s for %d s\n' "$target" "$1"
        cargo +nightly fuzz run "$target" "$grown" "fuzz/corpus/$target" -- \
            -max_total_time="$1" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -verbosity=0 \
            -print_final_stats=1
    done
}
