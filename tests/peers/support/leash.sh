#!/bin/sh
# leash.sh COMMAND...: runs the command until it ends by itself or until our standard input closes,
# which happens when the holder of the other end stops or dies, whatever the reason. Whatever is left
# of the process group then ends too, so the caller makes this script the leader of its own group.
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
(
  cat <&3 >/dev/null
  kill -TERM "$child"
  sleep 5
  kill -KILL 0
) &
wait "$child"
kill -KILL 0
