#!/usr/bin/env bash
# Writes what the origin serves, and the configurations of origin, nginx and Traffic Server.
#   configure.sh WORK PORT_ORIGIN PORT_NGINX PORT_ATS DISK THREADS
set -euo pipefail
work=$1 port_origin=$2 port_nginx=$3 port_ats=$4 disk=$5 threads=$6

mkdir -p "$work"/www/bodies "$work"/esker "$work"/nginx-cache "$work"/ats/{etc,log,run,cache,data}
for n in $(seq 0 15); do
    head -c 1024 /dev/urandom >"$work/www/bodies/1k-$n.bin"
    head -c 102400 /dev/urandom >"$work/www/bodies/100k-$n.bin"
    head -c 10485760 /dev/urandom >"$work/www/bodies/10m-$n.bin"
done
ln -s bodies "$work/www/short"
pad=$(printf 'x%.0s' $(seq 1000))

nginx_common() { # name
    cat <<CONF
daemon off;
pid $work/$1.pid;
error_log $work/$1.log error;
worker_rlimit_nofile 65536;
events { worker_connections 8192; }
CONF
}
nginx_http() { # name
    cat <<CONF
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    client_body_temp_path $work/$1-body;
    proxy_temp_path $work/$1-proxy;
    fastcgi_temp_path $work/$1-fastcgi;
    uwsgi_temp_path $work/$1-uwsgi;
    scgi_temp_path $work/$1-scgi;
CONF
}
user=""
if [ "$(id -u)" = 0 ]; then user="user root;"; fi

{
    nginx_common origin
    cat <<CONF
$user
worker_processes 1;
http {
$(nginx_http origin)
    default_type application/octet-stream;
    server {
        listen 127.0.0.1:$port_origin backlog=4096;
        root $work/www;
        location /bodies/ { add_header Cache-Control "public, max-age=86400"; }
        location /short/ { add_header Cache-Control "public, max-age=1"; }
        location /varied/ {
            add_header Cache-Control "public, max-age=86400";
            add_header Vary Accept-Language;
            return 200 "language \$http_accept_language";
        }
        location /private/ {
            add_header Cache-Control private;
            return 200 "for one only";
        }
        location ~ ^/objects/(?<number>[0-9]+)\$ {
            add_header Cache-Control "public, max-age=86400";
            return 200 "\$number $pad";
        }
    }
}
CONF
} >"$work/origin.conf"

{
    nginx_common nginx
    cat <<CONF
$user
worker_processes $threads;
http {
$(nginx_http nginx)
    # An inode an object, two levels of directories as its documentation proposes; no temporary files elsewhere.
    proxy_cache_path $work/nginx-cache levels=1:2 keys_zone=all:128m max_size=${disk,,} inactive=7d use_temp_path=off;
    upstream origin { server 127.0.0.1:$port_origin; keepalive 64; }
    server {
        listen 127.0.0.1:$port_nginx backlog=4096;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache all;
            proxy_cache_lock on;
            add_header X-Cache \$upstream_cache_status;
        }
    }
}
CONF
} >"$work/nginx.conf"

cat >"$work/ats/runroot.yaml" <<CONF
prefix: $work/ats
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/sbin
sysconfdir: $work/ats/etc
datadir: $work/ats/data
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: $work/ats
runtimedir: $work/ats/run
logdir: $work/ats/log
cachedir: $work/ats/cache
CONF
cat >"$work/ats/etc/records.config" <<CONF
CONFIG proxy.config.http.server_ports STRING $port_ats:ip-in=127.0.0.1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT $threads
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.http.insert_response_via_str INT 2
CONFIG proxy.config.http.keep_alive_enabled_in INT 1
CONF
echo "map / http://127.0.0.1:$port_origin/" >"$work/ats/etc/remap.config"
echo "$work/ats/cache $disk" >"$work/ats/etc/storage.config"
cat >"$work/ats/etc/ip_allow.yaml" <<CONF
ip_allow:
  - apply: in
    ip_addrs: 127.0.0.1
    action: allow
    methods: ALL
CONF
for file in plugin cache hosting parent volume ssl_multicert splitdns socks; do : >"$work/ats/etc/$file.config"; done
for file in logging sni strategies; do : >"$work/ats/etc/$file.yaml"; done
