#!/bin/sh
# Lays out the files of the image: rootfs.sh PROGRAM FOLDER
set -eu
program=$1 root=$2

mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/s3sweep"
cp "$program" "$root/usr/bin/s3sweep"
# the loader and the libraries, at the paths where the loader looks for them
ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'nonroot:x:65532:65532::/var/lib/s3sweep:/nonexistent' >"$root/etc/passwd"
echo 'nonroot:x:65532:' >"$root/etc/group"

# the only folders that the program writes to; a volume takes over owner and mode
mkdir -p "$root/var/lib/s3sweep" "$root/var/log/s3sweep"
chown 65532:65532 "$root/var/lib/s3sweep" "$root/var/log/s3sweep"
chmod 0700 "$root/var/lib/s3sweep"
chmod 0750 "$root/var/log/s3sweep"
