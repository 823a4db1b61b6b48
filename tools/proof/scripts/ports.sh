#!/usr/bin/env bash
# Row 16: other machines. The library's suite here; on big-endian s390x and on aarch64 under qemu-user; as a Windows build
# under wine; and type checks for macOS and for machines of 32 bits. See ../src/script.rs for what it is told and says.
#
# rustup brings the standard library of this machine only, so that of the others is built from Debian's sources with
# Debian's compiler (rustc-web, rust-web-src). What is missing is installed if we are root, else named.
#
# CARGO_TARGET_DIR  where to build (target); the ports stand in its folder `ports`
# A case is a port, or a port and one of its test targets or crates: `s390x`, `windows traps`,
# `s390x lib`, `i686 segdump`; or `exchange`: each port writes a directory, and each reads those of the others.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
read -r only only_tests <<<"${PROOF_CASE:-}"
is_canary=${PROOF_CANARY:-0}

# A test binary that takes longer than this hangs. Emulators are slow, and the machine may be busy.
limit_s=${PORTS_LIMIT_S:-1800}
passed_all=0 checked=0 failed_all=0

if [ "${PROOF_SLICE:-full}" = ci ] && [ "$is_canary" = 0 ] && [ -z "$only" ]; then
    echo "skipped: one command, not CI: scoreboard --row 16 --slice full"
    exit 0
fi

count() { echo "count: $1 $2"; }
failure() { echo "failure: $1: $2"; failed_all=$((failed_all + 1)); }
step() { echo "=== $* (at ${SECONDS}s)"; }

# --- what is needed

packages=(rustc-web rust-web-src qemu-user gcc-s390x-linux-gnu libc6-dev-s390x-cross gcc-aarch64-linux-gnu
    libc6-dev-arm64-cross gcc-mingw-w64-x86-64 wine64 wine)

install_what_is_missing() {
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        step "apt-get install ${missing[*]}"
        apt-get update >&2 && apt-get install -y --no-install-recommends "${missing[@]}" >&2 && return
    fi
    echo "skipped: it needs Debian's packages ${missing[*]}"
    exit 0
}

# --- what is built: the library and the tools, without what only benchmarks, examples and the architecture test need

# make_tree DIR
make_tree() {
    rm -rf "$1"
    mkdir -p "$1/tools"
    cp -a "$root/src" "$root/tests" "$root/Cargo.lock" "$root/build.rs" "$1/"
    cp -a "$root/tools/segdump" "$root/tools/esker" "$1/tools/"
    # The architecture test's text is read by another test, and it is not built.
    awk '/^\[/ { skip = /^\[\[bench\]\]|esker-proof\]$/ } !skip && !/^(axum|clap|criterion|proc-macro2) = /' \
        "$root/Cargo.toml" | sed -E 's/"tools\/(proof|schedules)", //g' >"$1/Cargo.toml"
    printf '\n[[test]]\nname = "architecture"\ntest = false\n' >>"$1/Cargo.toml"
    touch -r "$root/Cargo.toml" "$1/Cargo.toml"
}

# build DIR TRIPLE CARGO-ARGUMENTS…
build() {
    local dir=$1 triple=$2 upper
    shift 2
    upper=$(tr 'a-z-' 'A-Z_' <<<"$triple")
    (
        cd "$dir" || exit
        unset RUSTUP_TOOLCHAIN
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target_dir/ports${group:+/$group}
        export CARGO_TERM_COLOR=never
        export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
        export "CARGO_TARGET_${upper}_LINKER=${linker-}" "CARGO_TARGET_${upper}_RUNNER=timeout $limit_s ${runner-}"
        [ -n "${linker-}" ] || unset "CARGO_TARGET_${upper}_LINKER"
        export ESKER_CARRIED=$yard
        cargo "$1" --target "$triple" "-Zbuild-std=std,panic_unwind,test" "${@:2}" </dev/null
    )
}

# What cargo's log says of a suite that has run: counts, and a failure for each test or binary that did not pass.
# read_log PORT LOG
read_log() {
    awk -v port="$1" '
        function close_target() { if (target != "" && !has_result) bad(target, "ended without a result: " last) }
        function bad(where, what) { printf "failure: %s %s: %s\n", port, where, what; failures++ }
        /^ +Running / {
            close_target()
            target = $2 == "unittests" ? "lib" : $2; sub(/^tests\//, "", target); sub(/(\/main)?\.rs$/, "", target)
            has_result = 0
        }
        /^test .* \.\.\. FAILED$/ { bad(target, $2) }
        /^error(\[|:)/ && target == "" && first == "" { first = $0 }
        /^test result:/ {
            has_result = 1; passed += $4; ignored += $8
            # What a test prints may tear its line apart.
            if ($6 > 0 && failures == before) bad(target, $6 " tests failed")
            before = failures
        }
        { if ($0 != "") last = $0 }
        END {
            close_target()
            if (target == "") bad("build", first == "" ? last : first)
            printf "count: %s passed %d\ncount: %s failed %d\ncount: %s ignored %d\n", \
                port, passed, port, failures, port, ignored
        }' "$2" | tee "$2.said"
    passed_all=$((passed_all + $(sed -n "s/^count: $1 passed //p" "$2.said")))
    failed_all=$((failed_all + $(sed -n "s/^count: $1 failed //p" "$2.said")))
    grep -q ' failed 0$' "$2.said" || tail -n 60 "$2" >&2
}

# Whether a port takes part.
wants() { [ -z "$only" ] || [ "$only" = "$1" ]; }

# Whether the case runs nothing, but compiles.
is_check() { [[ "$only $only_tests" =~ ^(darwin-|i686|armv7)|\ (esker|segdump|esker-cli)$ ]]; }

# The cargo arguments that name what is tested: everything, or what the case names.
targets() {
    case "${only_tests:-$1}" in
        all) echo --lib --tests ;;
        lib) echo --lib ;;
        *) printf -- '--test %s ' ${only_tests:-$1} ;;
    esac
}

# suite PORT TRIPLE ARGUMENTS-OF-THE-TESTS…: builds and runs it
suite() {
    local port=$1 triple=$2
    shift 2
    is_check && return
    step "$port: the suite"
    # shellcheck disable=SC2046 # words on purpose
    build "$tree" "$triple" test --no-fail-fast -p esker $(targets "$set") -- "$@" >"$logs/$port" 2>&1
    read_log "$port" "$logs/$port"
}

# suite_here NAME TEST-TARGETS: the same with this machine's own toolchain, as anyone runs it
suite_here() {
    step "$1: $2"
    # shellcheck disable=SC2046
    (cd "$root" && ESKER_CARRIED=$yard CARGO_TARGET_DIR=$target_dir cargo test --no-fail-fast -p esker \
        $(only_tests='' targets "$2") </dev/null) >"$logs/$1" 2>&1
    read_log "$1" "$logs/$1"
}

# check PORT TRIPLE CRATE…: compiles without a warning, and links where there is a linker
check() {
    local port=$1 triple=$2 crate log warned verb=check
    shift 2
    [ -n "${linker-}" ] && verb=build
    for crate in "$@"; do
        [ -z "$only_tests" ] || [ "$only_tests" = "$crate" ] || continue
        step "$port: $crate"
        log=$logs/$port.$crate
        build "$tree" "$triple" $verb -p "$crate" >"$log" 2>&1
        local status=$?
        warned=$(grep -m 1 -E '^(warning|error)(\[|:)' "$log")
        if [ $status = 0 ] && [ -z "$warned" ]; then
            checked=$((checked + 1))
            count "$port checked $crate" 1
        else
            failure "$port $crate" "${warned:-cargo ended with $status}"
            tail -n 40 "$log" >&2
        fi
    done
}

# --- the ports

golden="carried_directory format_golden golden_directory"

# under_qemu PORT: everything but the rings, which the emulator does not have; that the cache then falls back is a test
under_qemu() {
    local port=$1 linker=$1-linux-gnu-gcc runner="qemu-$1 -L /usr/$1-linux-gnu"
    # Among the ignored tests are those of the fallback, and planted faults. The last three start themselves again from a
    # shell of this machine, which cannot run what is built for another.
    suite "$port" "$port-unknown-linux-gnu" --include-ignored --skip uring:: --skip uring_of_three_threads:: \
        --skip planted_ --skip nobody_else_can_read_what_is_made \
        --skip a_capacity_that_needs_too_many_files --skip a_soft_limit_is_raised
    # The tools, with the C code that the second one has.
    [ "$is_canary" = 1 ] || check "$port" "$port-unknown-linux-gnu" segdump esker-cli
}

# The standard library takes its random numbers from bcryptprimitives.dll, which wine has from its release 9 on. An older
# one gets it from us, and it asks wine's own generator.
make_wine_prefix() {
    export WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml= WINEPREFIX=$target_dir/ports/wine
    local dll=$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll
    # A server that ends with its last client may do so while the next one comes, which then ends with an error of wine's.
    wineserver -p60 >&2 || true
    [ -e "$dll" ] && return
    timeout "$limit_s" wine wineboot --init >&2 </dev/null
    [ -e "$dll" ] || x86_64-w64-mingw32-gcc -shared -o "$dll" -x c - -ladvapi32 <<'C'
unsigned char __stdcall SystemFunction036(void *bytes, unsigned long len);
__declspec(dllexport) int __stdcall ProcessPrng(void *bytes, unsigned long long len)
{
    return SystemFunction036(bytes, len);
}
C
}

windows() {
    # Apart, so that it can be built beside the others.
    local group=windows linker=x86_64-w64-mingw32-gcc runner=wine
    make_wine_prefix
    # Two tests fail by what is wine's own. It keeps the name of a removed file until the file is closed, where Windows has
    # let go of it at once since 10.1809. And it answers ERROR_INVALID_NAME to a listing of a file, Windows ERROR_DIRECTORY.
    suite windows x86_64-pc-windows-gnu --skip tokio_fs::an_open_file_survives_its_name --skip a_file_is_not_a_directory
    check windows x86_64-pc-windows-gnu segdump
}

# --- what is asked for

canary() {
    suite_here x86_64 "$golden"
    tree=$target_dir/ports/canary
    make_tree "$tree"
    # Cargo takes the two trees for one: what is built with the fault must not be tested as what is without.
    trap 'build "$tree" s390x-unknown-linux-gnu clean -p esker >&2' EXIT
    sed -i 's/\(to\|from\)_le_bytes/\1_ne_bytes/' "$tree/src/format/bytes.rs"
    set=$golden under_qemu s390x
    echo "figure: integers in the machine's own byte order: $failed_all failures on s390x"
}

everything() {
    local port
    if [ "$only" = exchange ]; then
        only='' only_tests=carried_directory
    fi
    # What the others write is compared with what this machine writes, so it goes first.
    if is_check; then :
    elif wants x86_64; then suite_here x86_64 "${only_tests:-all}"
    else suite_here x86_64 carried_directory; fi
    for port in s390x aarch64; do
        wants $port && under_qemu $port
    done
    wants windows && windows
    wants darwin-aarch64 && check darwin-aarch64 aarch64-apple-darwin esker segdump
    wants darwin-x86_64 && check darwin-x86_64 x86_64-apple-darwin esker segdump
    wants i686 && check i686 i686-unknown-linux-gnu esker segdump
    wants armv7 && check armv7 armv7-unknown-linux-gnueabihf esker segdump
    [ -n "$only" ] || suite_here exchange carried_directory
    echo "figure: $passed_all tests passed, $checked type checks without a warning, $failed_all failures"
}

install_what_is_missing
scratch=${PROOF_DIR:-$(mktemp -d)}
logs=$scratch/logs yard=$scratch/yard set=all
mkdir -p "$logs" "$yard"
tree=$target_dir/ports/tree
make_tree "$tree"
if [ "$is_canary" = 1 ]; then canary; else everything; fi
exit 0
