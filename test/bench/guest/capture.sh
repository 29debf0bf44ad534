#!/bin/bash
# capture.sh NAME: what a stranger takes of a VM to have it judged elsewhere, as /captures/NAME.tar.
# Files of /proc and /sys have no size that tar could trust, so they are copied first; a BAR is never read.
stage=/captures/stage
mkdir -p $stage/var/log
cd /
shopt -s nullglob
pids=$(cat /sys/fs/cgroup/system.slice/ollama.service/cgroup.procs 2>/dev/null)
for pid in 1 $pids; do
  cp -P --parents /proc/$pid/{stat,status,comm,cmdline,environ,cgroup,limits,maps,mountinfo,exe,root} /proc/$pid/fd/* $stage
done
cp --parents /proc/{stat,uptime,modules,locks,version,mounts,cmdline} /proc/sys/kernel/{hostname,random/boot_id} $stage
functions=(/sys/devices/pci*/0000:*)
cp -P --parents /sys/bus/pci/devices/* $stage
cp -P --parents /sys/devices/pci*/0000:*/{vendor,device,class,revision,subsystem_vendor,subsystem_device,resource,config} $stage
cp -P --parents /sys/devices/pci*/0000:*/driver $stage
for function in "${functions[@]}"; do
  for bar in "$function"/resource[0-5]; do
    truncate -s "$(stat -c %s "$bar")" "$stage$bar"
    chown --reference="$bar" "$stage$bar"
    chmod --reference="$bar" "$stage$bar"
  done
done
cp --parents /sys/kernel/security/lockdown $stage
journalctl --sync
cp -a --parents /etc/{systemd,passwd,group,hostname,machine-id,ld.so.*} /opt/vgpu /tmp /var/tmp $stage
cp -a --sparse=always /var/log/journal $stage/var/log
journalctl -u ollama -o short >/captures/"$1".txt
tar --sparse -C $stage -cf /captures/"$1".tar .
rm -rf $stage
