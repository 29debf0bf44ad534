#!/bin/bash
# First process of the bench's VM: unpacks what the test brought, then becomes systemd or runs the test's steps itself.
# Disks (namespaces of one NVMe controller, whose driver is built into the kernel): 1 system, 2 payload, 3 tools, 4 results,
# 5 media, where the test has any.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
if [ -b /dev/nvme0n5 ]; then mount -o ro /dev/nvme0n5 /media; fi
if [ -d /opt/vgpu-agent/node_modules ]; then mount -o ro /dev/nvme0n3 /opt/vgpu-agent/node_modules; fi
# After a restart the disk is as the steps before have left it.
if [ ! -e /bench/image ]; then tar -xf /dev/nvme0n2 -C /; fi
if [ "$(cat /bench/image)" = systemd ]; then exec /lib/systemd/systemd; fi
mount -t tmpfs tmpfs /run
hostname vgpu-bench
ip link set lo up 2>/dev/null
exec /bench/steps.sh
