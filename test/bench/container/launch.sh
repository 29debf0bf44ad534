#!/bin/bash
# Starts systemd as PID 1 of namespaces of its own, in four stages of this script. Everything it mounts lives in its
# mount namespace, so that killing PID 1 leaves nothing behind but the work directory and the empty control groups.
# Environment: ROOT pristine root tree, WORK scratch directory, CHECKOUT our checkout, CGROUP directory made for us,
# DEVICES directory with a device tree to show below /sys, or empty.
set -e
case "$1" in
start)
  mkdir -p "$CGROUP/supervisor" "$CGROUP/guest"
  echo 0 >"$CGROUP/supervisor/cgroup.procs"
  exec unshare --mount --pid --fork --kill-child --uts --ipc --net --propagation private bash "$0" enter
  ;;
enter)
  echo 0 >"$CGROUP/guest/cgroup.procs"
  exec unshare --cgroup bash "$0" mounts
  ;;
mounts)
  merged=$WORK/merged
  mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$WORK/upper,workdir=$WORK/work" "$merged"
  cd "$merged"
  mount -t proc proc proc
  mount -t tmpfs -o mode=755 tmpfs run
  mount -t tmpfs -o mode=1777 tmpfs tmp
  mount -t sysfs sysfs sys
  if [ -n "$DEVICES" ]; then
    # An overlay on sysfs: the kernel's own tree, its PCI devices hidden, ours added. Paths look as on a VM.
    mount --move sys "$WORK/sysfs"
    mount -t overlay overlay -o "lowerdir=$WORK/sysfs,upperdir=$WORK/sys-upper,workdir=$WORK/sys-work" sys
    rm -rf sys/bus/pci/devices sys/devices/pci*
    cp -a "$DEVICES/." sys/
  fi
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs dev
  for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
  done
  mkdir -p dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  mount --bind "$WORK/journal" var/log/journal
  mount --bind "$CHECKOUT" opt/vgpu-agent
  mount -o remount,bind,ro opt/vgpu-agent
  hostname vgpu-bench
  mkdir -p .old
  pivot_root . .old
  umount -l /.old
  rmdir /.old
  exec env -i container=vgpu-bench PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal </dev/null
  ;;
esac
