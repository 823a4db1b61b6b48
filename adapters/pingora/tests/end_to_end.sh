#!/usr/bin/env bash
# The example proxy with real parts around it, all on loopback: nginx as origin, curl for what a client may ask, wrk for
# figures beside nginx's own proxy_cache and Apache Traffic Server on the same machine in the same run, restarts, and kills
# under load with clients that check every body. Exits with 0 if nothing was wrong; prints its figures as tables.
#
#   adapters/pingora/tests/end_to_end.sh [check] [full] [load] [restart] [kill]     all of them if none is named
#
# QUICK=1        a few seconds a figure, fewer objects and kills: whether it works, not what it is worth
# SECONDS_EACH   how long wrk runs for one figure (10; quick: 2)
# OBJECTS        objects of 1 KiB in the caches before the restart (200000; quick: 5000)
# KILLS          how often the proxy is killed under load (20; quick: 3)
# DISK           disk space of each cache (8G; quick: 1G)
# WORK           where to work: a directory is made in it, and removed at the end (the system's temporary directory)
# PROXY          the proxy's binary; built if not given
#
# Installs from Debian what is missing (root). Ends only what it started, by process id.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/end_to_end
if [ "${QUICK:-}" = 1 ]; then
    defaults=(2 5000 3 1G)
else
    defaults=(10 200000 20 8G)
fi
SECONDS_EACH=${SECONDS_EACH:-${defaults[0]}}
OBJECTS=${OBJECTS:-${defaults[1]}}
KILLS=${KILLS:-${defaults[2]}}
DISK=${DISK:-${defaults[3]}}
threads=2

say() { printf '\n=== %s (at %ss)\n' "$*" "$SECONDS"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
check() { if [ "$2" = "$3" ]; then printf 'ok    %s\n' "$1"; else fail "$1: expected '$3', got '$2'"; fi; }

install_parts() {
    export PATH=$PATH:/usr/sbin:/sbin
    local missing=()
    command -v nginx >/dev/null || missing+=(nginx)
    command -v wrk >/dev/null || missing+=(wrk)
    command -v traffic_server >/dev/null || missing+=(trafficserver)
    command -v curl >/dev/null || missing+=(curl)
    command -v python3 >/dev/null || missing+=(python3-minimal)
    command -v pgrep >/dev/null || missing+=(procps)
    if [ -z "${PROXY:-}" ]; then command -v cmake >/dev/null || missing+=(cmake build-essential); fi
    [ ${#missing[@]} -eq 0 ] && return
    apt-get update
    # What Debian would start at once stays down: we start our own.
    RUNLEVEL=1 apt-get install -y --no-install-recommends "${missing[@]}"
}

build_proxy() {
    [ -n "${PROXY:-}" ] && return
    (cd "$here/.." && cargo build --release --example proxy)
    PROXY=${CARGO_TARGET_DIR:-$here/../target}/release/examples/proxy
}

work=
esker_dir=
is_mounted=
declare -A pid=()
end() { # by name, and waits
    local it=${pid[$1]:-}
    [ -n "$it" ] || return 0
    unset "pid[$1]"
    kill -TERM "$it" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$it" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$it" 2>/dev/null || true
    wait "$it" 2>/dev/null || true
}
clean_up() {
    for name in "${!pid[@]}"; do end "$name"; done
    [ -z "$is_mounted" ] || umount "$work/small"
    [ -z "$work" ] || rm -rf "$work"
}
trap clean_up EXIT

await() { # port
    for _ in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    fail "nothing listens on port $1"
}

start() {
    case $1 in
    origin) nginx -e "$work/origin.log" -c "$work/origin.conf" >>"$work/origin.log" 2>&1 & ;;
    nginx) nginx -e "$work/nginx.log" -c "$work/nginx.conf" >>"$work/nginx.log" 2>&1 & ;;
    ats) traffic_server --run-root="$work/ats/runroot.yaml" >>"$work/ats.log" 2>&1 & ;;
    esker)
        "$PROXY" --origin "127.0.0.1:$port_origin" --listen "127.0.0.1:$port_esker" --admin "127.0.0.1:$port_admin" \
            --dir "$esker_dir" --capacity "$DISK" --threads $threads >>"$work/esker.log" 2>&1 &
        ;;
    esac
    pid[$1]=$!
}
up() { start "$1"; local port=port_$1; await "${!port}"; }

dir_of() { case $1 in esker) echo "$work/esker" ;; nginx) echo "$work/nginx-cache" ;; ats) echo "$work/ats/cache" ;; esac; }

set_up() {
    work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/esker-end-to-end.XXXXXX")
    chmod 755 "$work"
    esker_dir=$work/esker
    read -r port_origin port_esker port_admin port_nginx port_ats < <(python3 "$tools/ports.py" 5)
    "$tools/configure.sh" "$work" "$port_origin" "$port_nginx" "$port_ats" "$DISK" "$threads"
    up origin
}

value() { grep -i "^$1:" "$work/header" | head -1 | tr -d '\r' | cut -d' ' -f2-; }
ask() { # url, more for curl: status in $status, header and body in files
    local url=$1
    shift
    status=$(curl -sS -o "$work/body" -D "$work/header" -w '%{http_code}' "$@" "http://127.0.0.1:$port_esker$url")
}
same() { if cmp -s "$work/body" "$1"; then echo same; else echo different; fi; }
admin() { curl -sS "http://127.0.0.1:$port_admin$1" "${@:2}"; }

check_answers() {
    say "what a client may ask"
    up esker
    local file=$work/www/bodies/100k-1.bin url=/bodies/100k-1.bin
    ask $url; check "a miss" "$status $(value x-cache) $(same "$file")" "200 miss same"
    ask $url; check "a hit" "$status $(value x-cache) $(same "$file")" "200 hit same"
    ask $url -I; check "HEAD" "$status $(value x-cache) $(value content-length)" "200 hit 102400"
    ask $url -r 1000-1999
    check "a range" "$status $(value x-cache) $(value content-range)" "206 hit bytes 1000-1999/102400"
    check "its bytes" "$(cmp -s "$work/body" <(tail -c +1001 "$file" | head -c 1000) && echo same)" "same"
    ask $url -r -10; check "the last bytes" "$(cmp -s "$work/body" <(tail -c 10 "$file") && echo same)" "same"
    ask $url -r 200000-; check "a range behind the end" "$status" "416"
    ask $url -r 0-9,50000-50099,-5
    check "three ranges" "$status $(python3 "$tools/multipart.py" "$work/header" "$work/body" "$file" 0-9 50000-50099 102395-102399)" "206 same"
    ask /bodies/10m-1.bin -r 5000000-5000999
    check "a range of what is not there" "$status $(value x-cache) $(cmp -s "$work/body" <(tail -c +5000001 "$work/www/bodies/10m-1.bin" | head -c 1000) && echo same)" "206 miss same"
    ask /bodies/10m-1.bin; check "then all of it" "$status $(value x-cache) $(same "$work/www/bodies/10m-1.bin")" "200 hit same"
    ask $url; local etag; etag=$(value etag)
    ask $url -H "If-None-Match: $etag"; check "If-None-Match, the same" "$status" "304"
    ask $url -H 'If-None-Match: "other"'; check "If-None-Match, another" "$status $(same "$file")" "200 same"
    ask /varied/x -H 'Accept-Language: de'; check "a variant" "$(value x-cache) $(cat "$work/body")" "miss language de"
    ask /varied/x -H 'Accept-Language: en'; check "another" "$(value x-cache) $(cat "$work/body")" "miss language en"
    ask /varied/x -H 'Accept-Language: de'; check "the first again" "$(value x-cache) $(cat "$work/body")" "hit language de"
    ask /private/x; ask /private/x; check "what is private" "$status $(value x-cache)" "200 none"
    ask /short/1k-1.bin; sleep 2.1
    ask /short/1k-1.bin; check "a revalidation" "$status $(value x-cache) $(same "$work/www/bodies/1k-1.bin")" "200 revalidated same"
    check "purge by prefix" "$(admin "/purge?prefix=127.0.0.1:$port_esker/bodies/" -X POST)" '{"purged":2}'
    ask $url; check "after the purge" "$(value x-cache) $(same "$file")" "miss same"
    check "a purge from a foreign page" "$(admin "/purge?prefix=" -X POST -H 'Origin: http://example.org' -o /dev/null -w '%{http_code}')" "403"
    ask /short/1k-2.bin; sleep 2.1
    end origin
    ask /short/1k-2.bin; check "stale, as the origin is down" "$status $(value x-cache) $(same "$work/www/bodies/1k-2.bin")" "200 stale same"
    ask /bodies/100k-2.bin; check "a miss, as the origin is down" "$status" "502"
    up origin
    check "health" "$(admin /healthz)" "ok"
    check "metrics" "$(admin /metrics | grep -c '^proxy_hits_total [1-9]')" "1"
    end esker
    up esker
    ask $url; check "a hit after a restart" "$(value x-cache) $(same "$file")" "hit same"
    # Only what is in the directory is known now; two variants, two of /short, one body.
    check "reindex" "$(admin /reindex -X POST)" '{"names":5}'
    check "purge by prefix after a restart" "$(admin "/purge?prefix=127.0.0.1:$port_esker/varied" -X POST)" '{"purged":2}'
    end esker
}

# A disk that is full costs entries, not answers.
full_disk() {
    say "a full disk"
    mkdir "$work/small"
    if ! mount -t tmpfs -o size=48m small "$work/small"; then
        echo "skipped: no file system may be mounted here"
        return
    fi
    is_mounted=yes
    esker_dir=$work/small/cache
    up esker
    local n right=0
    for n in $(seq 0 15); do
        for size in 1k 100k 10m; do
            ask "/bodies/$size-$n.bin"
            [ "$status $(same "$work/www/bodies/$size-$n.bin")" != "200 same" ] || right=$((right + 1))
        done
    done
    check "answers while the disk is full" "$right" "48"
    check "fills were refused" "$(admin /metrics | grep -c '^esker_pingora_fills_refused_total [1-9]')" "1"
    admin /metrics | grep -E '^esker_pingora_(fills_refused|fills_stored|relayed)_total'
    end esker
    umount "$work/small"
    is_mounted=
    esker_dir=$work/esker
}

# Requests/s, p99, CPU: "after" is right after a restart, with the cache's files out of the page cache.
load() {
    say "load"
    printf '| proxy | body | connections | state | requests/s | p99 | MiB/s | CPU |\n|---|---|---|---|---|---|---|---|\n'
    for name in esker nginx ats; do
        local port=port_$name
        for body in 1k 100k 10m; do
            up "$name"
            fill "${!port}" "$body"
            for connections in 1 32 128; do figure "$name" "$body" $connections warm; done
            sleep 1
            for connections in 1 32 128; do
                end "$name"
                python3 "$tools/evict.py" "$(dir_of "$name")"
                up "$name"
                figure "$name" "$body" $connections after
            done
            end "$name"
        done
    done
}

fill() { # port, body: twice, as what is fetched first is not everywhere stored at once
    for _ in 1 2; do
        for n in $(seq 0 15); do curl -sS -o /dev/null "http://127.0.0.1:$1/bodies/$2-$n.bin"; done
    done
}

figure() { # proxy, body, connections, state
    local port=port_$1 before after lanes=$threads
    [ "$3" -ge $threads ] || lanes=1
    before=$(python3 "$tools/cpu.py" "${pid[$1]}")
    BODY=$2 wrk -t "$lanes" -c "$3" -d "${SECONDS_EACH}s" --timeout 60s --latency -s "$tools/bodies.lua" "http://127.0.0.1:${!port}" >"$work/wrk"
    after=$(python3 "$tools/cpu.py" "${pid[$1]}")
    if grep -E 'Non-2xx|Socket errors' "$work/wrk"; then fail "$1 failed requests"; fi
    python3 "$tools/row.py" "$work/wrk" "$1" "$2" "$3" "$4" "$before" "$after"
}

restarts() {
    say "$OBJECTS objects, and a restart"
    printf '| proxy | filled, objects/s | inodes | disk, MiB | first hit after a restart, ms | after a kill, ms | memory then, MiB |\n|---|---|---|---|---|---|---|\n'
    for name in esker nginx ats; do
        local port=port_$name dir took inodes size restart killed memory
        dir=$(dir_of "$name")
        rm -rf "$dir" && mkdir "$dir"
        up "$name"
        took=$(python3 "$tools/fill.py" "${!port}" "$OBJECTS")
        sleep 2
        inodes=$(find "$dir" | wc -l)
        size=$(du -sm "$dir" | cut -f1)
        end "$name"
        first_hit "$name"
        restart=$first_hit_ms
        kill_it "$name"
        first_hit "$name"
        killed=$first_hit_ms
        memory=$(python3 "$tools/cpu.py" --memory "${pid[$name]}")
        printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$name" "$took" "$inodes" "$size" "$restart" "$killed" "$memory"
        end "$name"
    done
}

# Starts it; into `first_hit_ms`, since a subshell would keep the process id to itself.
first_hit() {
    local port=port_$1 began
    began=$(python3 -c 'import time; print(time.monotonic())')
    start "$1"
    first_hit_ms=$(python3 "$tools/first_hit.py" "${!port}" "$OBJECTS" "$began")
}

# What we started under this name, and its children.
kill_it() {
    local it=${pid[$1]} children
    children=$(pgrep -P "$it" || true)
    unset "pid[$1]"
    # Of the children only the ids that were just listed.
    kill -KILL "$it" $children
    wait "$it" 2>/dev/null || true
}

kills() {
    say "$KILLS kills under load"
    up esker
    python3 "$tools/clients.py" "$port_esker" "$work/www/bodies" "$work/stop" >"$work/clients" 2>&1 &
    pid[clients]=$!
    local seed=${RANDOM}
    for n in $(seq "$KILLS"); do
        python3 -c "import random, time; random.seed($seed + $n); time.sleep(0.5 + 2 * random.random())"
        kill_it esker
        up esker
    done
    sleep 2
    touch "$work/stop"
    local clients=${pid[clients]}
    unset "pid[clients]"
    wait "$clients" || { cat "$work/clients"; fail "a client got what is wrong"; }
    cat "$work/clients"
    admin /stats | python3 -c '
import json, sys
s = json.load(sys.stdin)
c = s["cache"]
print("entries found after the last kill:", s["recovery"]["entries_kept"])
print("damaged, served none of them:", c["entries_damaged"] + c["misses_damaged"])
assert s["recovery"]["entries_kept"] > 0, "nothing survived the kills"'
    end esker
}

install_parts
build_proxy
set_up
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(check full load restart kill)
for part in "${parts[@]}"; do
    case $part in
    check) check_answers ;;
    full) full_disk ;;
    load) load ;;
    restart) restarts ;;
    kill) kills ;;
    *) fail "no part is called $part" ;;
    esac
done
say "done, nothing was wrong"
