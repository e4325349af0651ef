# Ends what a local stack started: `sh -c SCRIPT reaper RUN_DIR`, with a pipe from the stack's process on stdin.
# The stack writes `+SIGNAL PID` for every process group it starts and `-PID` for every one that has ended. When the
# pipe closes, because the stack stops or because its process was killed, the groups that are left are ended, RUN_DIR
# removed.
trap '' HUP INT TERM
groups=
while read -r change pid; do
  case $change in
    +*) groups="$groups ${change#+}:$pid" ;;
    -*) kept=
        for group in $groups; do [ "${group#*:}" = "${change#-}" ] || kept="$kept $group"; done
        groups=$kept ;;
  esac
done
for group in $groups; do kill -s "${group%:*}" -- "-${group#*:}" 2>/dev/null; done

# PostgreSQL takes its shared memory and its own children along, and removes this file last.
tries=0
while [ -e "$1/postgres/data/postmaster.pid" ] && [ "$tries" -lt 200 ]; do
  tries=$((tries + 1))
  sleep 0.05
done
until rm -rf -- "$1" || [ "$tries" -ge 200 ]; do
  tries=$((tries + 1))
  sleep 0.05
done
