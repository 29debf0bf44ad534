#!/bin/bash
# Runs the test's steps in order, gathers their output and the wanted files on the result disk, and switches off. After a
# restart it goes on with the first step that was not run.
# Before and after each step it tells the host, over the second serial port, and waits for its word: the host marks the
# device trace and changes the device's behaviour in between.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
tell() { echo "$*" >&3; read -r _ <&3; }
for dir in /bench/steps/*/; do
  if [ -e "$dir/exit" ]; then continue; fi
  name=$(cat "$dir/name")
  tell "begin $name"
  started=$EPOCHREALTIME
  (cd / && exec timeout -s KILL "$(cat "$dir/limit")" bash "$dir/run" >"$dir/stdout" 2>"$dir/stderr" </dev/null 3>&-)
  echo $? >"$dir/exit"
  echo $(((${EPOCHREALTIME/./} - ${started/./}) / 1000)) >"$dir/ms"
  tell "end $name"
  if [ -e "$dir/reboots" ]; then
    systemctl reboot
    exit
  fi
done
mkdir -p /bench/collected
shopt -s nullglob globstar
while IFS= read -r pattern; do
  for path in $pattern; do cp -a --parents "$path" /bench/collected/ 2>/dev/null; done
done </bench/collect
tar --sparse -C /bench -cf - steps collected | dd of=/dev/nvme0n4 bs=1M conv=fsync 2>/dev/null
tell finished
echo o >/proc/sysrq-trigger
sleep 60
