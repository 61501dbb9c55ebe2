/**
 * What runs as process 1 in the test guest. It exists apart from the builder because it is a
 * program of its own: a shell script for busybox, driven by `drystone.job=` on the kernel command
 * line, that tells its story on the serial console in lines a test can wait for:
 *
 * With `drystone.pause=` the counter waits for so many seconds between two steps. With
 * `drystone.fsck=1` a file system that is there already is checked before it is mounted.
 *
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
for word in $(cat /proc/cmdline); do
  case $word in
    drystone.job=*) job=\${word#drystone.job=} ;;
    drystone.pause=*) pause=\${word#drystone.pause=} ;;
    drystone.fsck=*) fsck=\${word#drystone.fsck=} ;;
    drystone.port=*) port=\${word#drystone.port=} ;;
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
while [ ! -b /dev/vda ]; do
  tries=$((tries + 1))
  [ $tries -lt 100 ] || fail "no /dev/vda"
  sleep 0.1
done
echo "READY $job"

# The ext4 magic number sits at byte 1080; a blank disk reads as zeros there.
magic() { dd if=/dev/vda bs=1 skip=1080 count=2 2>/dev/null | hexdump -v -e '1/1 "%02x"'; }

# As a mount does: what the journal holds is part of the file system.
check_disk() {
  /e2fsprogs/e2fsck -y -E journal_only /dev/vda || fail "the journal cannot be replayed"
  /e2fsprogs/e2fsck -n -f /dev/vda
  echo "FSCK $?"
}

mount_disk() {
  state=found
  case $(magic) in
    53ef) [ $fsck = 0 ] || check_disk ;;
    0000) state=created; /e2fsprogs/mke2fs -q -t ext4 /dev/vda || fail "mke2fs" ;;
    *) fail "/dev/vda holds neither zeros nor ext4: $(magic)" ;;
  esac
  mount -t ext4 -o errors=panic /dev/vda /mnt || fail "mount"
  counter=0
  [ -e /mnt/counter ] && read counter < /mnt/counter
  echo "MOUNTED $state"
  echo "COUNTER-FOUND $counter"
}

case $job in
  counter)
    mount_disk
    while :; do
      counter=$((counter + 1))
      echo $counter | dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null || fail "log"
      printf '%12d\\n' $counter | dd of=/mnt/counter conv=notrunc,fsync 2>/dev/null ||
        fail "counter"
      echo "COUNTER $counter"
      [ $pause = 0 ] || sleep $pause
    done ;;
  check)
    mount_disk
    # A counter that ran twice over the last line is a crash between the two files, not a loss.
    awk '$1 != last + 1 && $1 != last { bad = 1 } { last = $1 }
      END { print "LOG", last + 0, bad ? "BAD" : "ok" }' /mnt/log
    umount /mnt || fail "umount"
    /e2fsprogs/e2fsck -n -f /dev/vda
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
  none) finish ;;
  *) fail "no such job: $job" ;;
esac
`;
