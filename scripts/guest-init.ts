/**
 * What runs as process 1 in the test guest. It exists apart from the builder because it is a
 * program of its own: a shell script for busybox, driven by `drystone.job=` on the kernel command
 * line, that tells its story on the serial console in lines a test can wait for:
 *
 * With `drystone.pause=` the counter waits for so many seconds between two steps. With
 * `drystone.fsck=1` a file system that is there already is checked before it is mounted.
 *
 * The job `trims` is `counter` that gives back a file and a part of the disk before each `COUNTER`.
 * `drystone.disk=` names another disk than /dev/vda for the file system, as a partition of it.
 * The job `network` needs no disk, and is told with `drystone.port=` where to ask.
 *
 *   READY job             drivers loaded, /dev/vda is there
 *   MOUNTED created|found the file system was made, or was there already
 *   COUNTER-FOUND n       what the counter file held at mount (0 if there was none)
 *   COUNTER n             n is durable: written and fsynced before the line was printed
 *   LOG n ok|BAD          the log holds lines 1..n in order (job `check`)
 *   FSCK code             exit code of `e2fsck -n -f`: after a clean unmount (job `check`), or of
 *                         what was found, its journal replayed (with `drystone.fsck=1`)
 *   TRIMMED bytes         what fstrim has given back after a large file was removed (job `trim`)
 *   DISCARDED ok|BAD      the disk reads as zeroes after blkdiscard (job `trim`)
 *   QUEUES n              the disk's (job `changes`)
 *   SIZE bytes            of the disk, at the beginning and whenever it changes (job `changes`)
 *   END ok|BAD            its last block was written and read, past all caches (job `changes`)
 *   MEMORY kib            the machine's, at the beginning and whenever it changes (job `changes`)
 *   CACHED kib            pages of files in memory, /mnt/large among them (job `changes`)
 *   COPIED                /mnt/large from there to the disk, from 512 MiB on (job `changes`)
 *   ANSWERS a b           to requests of the first and the second queue so far (job `changes`)
 *   REACHED|CUT-OFF       whether 10.0.2.2 answers HTTP at the port (job `network`)
 *   DONE                  the job is over, the guest powers off
 *   GUEST-FAILED text     something failed; the guest powers off
 */
export const GUEST_INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /usr/bin /usr/sbin /etc
/bin/busybox --install -s
export PATH=/sbin:/bin:/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
ln -sf /proc/mounts /etc/mtab

fail() { echo "GUEST-FAILED $*"; poweroff -f; sleep 60; }
finish() { echo DONE; poweroff -f; sleep 60; }

for module in $(cat /modules/order); do
  insmod /modules/$module || fail "insmod $module"
done
job=none
pause=0
fsck=0
port=80
disk=/dev/vda
for word in $(cat /proc/cmdline); do
  case $word in
    drystone.job=*) job=\${word#drystone.job=} ;;
    drystone.pause=*) pause=\${word#drystone.pause=} ;;
    drystone.fsck=*) fsck=\${word#drystone.fsck=} ;;
    drystone.port=*) port=\${word#drystone.port=} ;;
    drystone.disk=*) disk=\${word#drystone.disk=} ;;
  esac
done

# Where QEMU's user networking has its guest, and its host.
if [ $job = network ]; then
  echo "READY $job"
  ip link set eth0 up || fail "no eth0"
  ip addr add 10.0.2.15/24 dev eth0 || fail "no address"
  # Busybox's wget looks names up, for which this guest has no libraries.
  answer=$(printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 10.0.2.2 $port)
  [ -n "$answer" ] && echo REACHED || echo CUT-OFF
  finish
fi

tries=0
while [ ! -b $disk ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail "no $disk"
  sleep 0.1
done
echo "READY $job"

# The ext4 magic number sits at byte 1080; a blank disk reads as zeros there.
magic() { dd if=$disk bs=1 skip=1080 count=2 2>/dev/null | hexdump -v -e '1/1 "%02x"'; }

# As a mount does: what the journal holds is part of the file system.
check_disk() {
  /e2fsprogs/e2fsck -y -E journal_only $disk || fail "the journal cannot be replayed"
  /e2fsprogs/e2fsck -n -f $disk
  echo "FSCK $?"
}

mount_disk() {
  state=found
  extent=
  [ $job != trims ] || extent=512M
  case $(magic) in
    53ef) [ $fsck = 0 ] || check_disk ;;
    0000) state=created; /e2fsprogs/mke2fs -q -t ext4 $disk $extent || fail "mke2fs" ;;
    *) fail "$disk holds neither zeros nor ext4: $(magic)" ;;
  esac
  mount -t ext4 -o errors=panic $disk /mnt || fail "mount"
  counter=0
  [ -e /mnt/counter ] && read counter < /mnt/counter
  echo "MOUNTED $state"
  echo "COUNTER-FOUND $counter"
}

# A file's blocks by fstrim, and blocks past the file system by blkdiscard.
give_back() {
  dd if=/dev/urandom of=/mnt/gone bs=64k count=8 conv=fsync 2>/dev/null || fail "gone"
  rm /mnt/gone && sync
  trimmed=$(fstrim -v /mnt | tr -dc 0-9)
  [ "$trimmed" -ge 524288 ] || fail "fstrim gave back $trimmed"
  at=$((768 << 20))
  dd if=/dev/urandom of=/dev/vda bs=64k seek=$((at / 65536)) count=4 oflag=direct 2>/dev/null ||
    fail "write past the file system"
  # It wants the disk for itself.
  umount /mnt || fail "umount"
  blkdiscard -o $at -l 262144 /dev/vda || fail "blkdiscard"
  left=$(dd if=/dev/vda bs=64k skip=$((at / 65536)) count=4 iflag=direct 2>/dev/null |
    tr -d '\\000' | wc -c)
  [ "$left" = 0 ] || fail "$left bytes are left after blkdiscard"
  mount -t ext4 -o errors=panic /dev/vda /mnt || fail "mount again"
}

# A file that is too large for the first memory is read, and what was read is copied past the file
# system, where whoever serves the disk can compare it.
fill_memory() {
  dd if=/mnt/large of=/dev/null bs=1M 2>/dev/null || fail "large"
  echo "CACHED $(awk '/^Cached/ { print $2 }' /proc/meminfo)"
  dd if=/mnt/large of=/dev/vda bs=1M seek=512 oflag=direct 2>/dev/null || fail "copy"
  echo "COPIED"
}

try_end() {
  at=$(($1 / 4096 - 1))
  dd if=/dev/urandom of=/dev/vda bs=4k seek=$at count=1 oflag=direct 2>/dev/null || fail "end"
  left=$(dd if=/dev/vda bs=4k skip=$at iflag=direct 2>/dev/null | tr -d '\\000' | wc -c)
  [ $left -gt 3000 ] && [ $left -lt 4096 ] && echo "END ok" || echo "END BAD $left"
  # What fills the memory goes, so that the memory can.
  sync && echo 3 > /proc/sys/vm/drop_caches
}

case $job in
  counter|trims)
    mount_disk
    while :; do
      counter=$((counter + 1))
      echo $counter | dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null || fail "log"
      printf '%12d\\n' $counter | dd of=/mnt/counter conv=notrunc,fsync 2>/dev/null ||
        fail "counter"
      [ $job = counter ] || give_back
      echo "COUNTER $counter"
      [ $pause = 0 ] || sleep $pause
    done ;;
  check)
    mount_disk
    # A counter that ran twice over the last line is a crash between the two files, not a loss.
    awk '$1 != last + 1 && $1 != last { bad = 1 } { last = $1 }
      END { print "LOG", last + 0, bad ? "BAD" : "ok" }' /mnt/log
    umount /mnt || fail "umount"
    /e2fsprogs/e2fsck -n -f $disk
    echo "FSCK $?"
    finish ;;
  trim)
    mount_disk
    dd if=/dev/urandom of=/mnt/large bs=1M count=64 conv=fsync 2>/dev/null || fail "large"
    echo "LARGE written"
    rm /mnt/large && sync
    echo "TRIMMED $(fstrim -v /mnt | tr -dc 0-9)"
    umount /mnt || fail "umount"
    blkdiscard /dev/vda || fail "blkdiscard"
    left=$(dd if=/dev/vda bs=1M count=64 iflag=direct 2>/dev/null | tr -d '\\000' | wc -c)
    [ "$left" = 0 ] && echo "DISCARDED ok" || echo "DISCARDED BAD"
    finish ;;
  changes)
    mount_disk
    echo "QUEUES $(ls /sys/block/vda/mq | wc -l)"
    size=0
    memory=0
    while :; do
      # Memory that is added lies idle until somebody says what for; pages of files can leave it.
      for state in /sys/devices/system/memory/memory*/state; do
        [ "$(cat $state)" != offline ] || echo online_movable > $state
      done
      now=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
      if [ $now != $memory ]; then
        echo "MEMORY $now"
        [ $memory = 0 ] || [ $now -lt $memory ] || fill_memory
        memory=$now
      fi
      now=$(blockdev --getsize64 /dev/vda)
      if [ $now != $size ]; then
        echo "SIZE $now"
        [ $size = 0 ] || try_end $now
        size=$now
      fi
      for processor in 1 2; do
        taskset $processor dd if=/dev/vda of=/dev/null bs=4k count=8 iflag=direct 2>/dev/null ||
          fail "read"
      done
      echo "ANSWERS" $(awk '/virtio[0-9]+-req/ { print $2 + $3 }' /proc/interrupts)
      counter=$((counter + 1))
      echo "COUNTER $counter"
    done ;;
  none) finish ;;
  *) fail "no such job: $job" ;;
esac
`;
