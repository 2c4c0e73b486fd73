# What comes back by itself, and what must not. Read by `inside`.
# shellcheck shell=sh disable=SC2086,SC2154

# until_another_serves UNIT SECONDS COMMAND..: does something to its process, and waits until another one serves; sets `took`.
until_another_serves() {
    unit=$1 limit=$2 before=$(main_pid "$1") started=$(date +%s%N)
    shift 2
    "$@" "$before"
    within "$limit" another_serves
    took=$((($(date +%s%N) - started) / 1000000))
}
another_serves() { [ "$(main_pid $unit)" != "$before" ] && is $unit ActiveState active; }

comes_back_from_kill() {
    for unit in hallmark-core.service hallmark-front.service hallmark-operators.service; do
        until_another_serves $unit 10 kill -KILL
        echo "  after kill -9, another process of $unit serves within $took ms"
        holds "and signs" mint
    done
    began=$(date +%s%N)
    kill -KILL "$(main_pid hallmark-core.service)"
    holds "a mint that comes while the core is dead is not refused" mint
    echo "  it waited, start of the program included, for $((($(date +%s%N) - began) / 1000000)) ms"
}

comes_back_from_a_hang() {
    until_another_serves hallmark-core.service 15 kill -STOP
    echo "  a core that hangs (SIGSTOP) is replaced by WatchdogSec=3: another serves after $took ms"
    holds "and signs" mint
    holds "systemd says why" says_in_the_journal hallmark-core.service 'Watchdog timeout'
}

# A start that fails at once, with fronts that knock all the time: no limit of systemd's may close the doors for good.
comes_back_from_a_failing_start() {
    since=$(now)
    mv /var/lib/hallmark/log.key log.key.away
    kill -KILL "$(main_pid hallmark-core.service)"
    sleep 10
    count=$(says_in_the_journal hallmark-core.service 'there is no log key' | wc -l)
    for socket in $sockets; do
        holds "after $count starts that failed within 10 s, $socket is still there" is $socket ActiveState active
    done
    fails "calls are told that the core is away" mint
    mv log.key.away /var/lib/hallmark/log.key
    within 10 mint
    echo "  once its cause is gone, a certificate comes within $took ms, without anybody's help"
}

stops_for_a_wrong_pin() {
    since=$(now)
    echo 0000000000000000 >wrong-pin
    put_pin wrong-pin
    kill -KILL "$(main_pid hallmark-core.service)"
    within 10 is hallmark-core.service ExecMainStatus 3
    within 10 is hallmark-core.service ActiveState failed
    echo "  with a wrong PIN the core ends with exit code 3"
    for socket in $sockets; do
        within 5 is $socket ActiveState inactive
        echo "  $socket is closed"
    done
    sleep 3
    fails "calls are refused" mint
    holds "the fronts are still there" sh -c 'systemctl is-active hallmark-front.service hallmark-operators.service'
    holds "one log-in was tried" [ "$(says_in_the_journal hallmark-core.service 'no log-in is tried any more' | wc -l)" -eq 1 ]
    holds "and no start followed" [ "$(says_in_the_journal hallmark-core.service 'Starting hallmark-core.service' | wc -l)" -eq 1 ]
    put_pin pin
    holds "what the page says starts it again" systemctl start $sockets hallmark-core.service
    within 5 mint
    echo "  and the fronts, which nobody touched, find it: a certificate within $took ms"
}

exposures() {
    for unit; do
        level=$(exposure "$unit")
        holds "systemd-analyze security $unit: $level of 10" sh -c "[ '$(echo "$level" | tr -d .)' -le ${exposure_max:-20} ]"
    done
}

serves_after_a_boot() {
    within 30 mint
    echo "  a certificate comes without anybody's help"
    for unit in $sockets $services; do
        holds "$unit is active" is $unit ActiveState active
    done
}
