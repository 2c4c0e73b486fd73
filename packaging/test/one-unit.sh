# hallmarkd.service, with hallmarkd's own supervisor. Read by `inside`.
# shellcheck shell=sh disable=SC2086,SC2154

child() { pgrep -P "$(main_pid hallmarkd.service)" -f "hallmarkd $1 .*" -u "$2"; }

one_unit() {
    mkdir -p /etc/systemd/system/hallmarkd.service.d
    cp /etc/systemd/system/hallmark-core.service.d/pin.conf /etc/systemd/system/hallmarkd.service.d/
    systemctl daemon-reload
    holds "it starts" systemctl start hallmarkd.service
    for unit in $sockets $services; do
        holds "$unit has made room for it" is $unit ActiveState inactive
    done
    within 10 mint
    echo "  a certificate comes ($took ms)"
    holds "the core is its user's" child core hallmark
    holds "the callers' front is its user's" child front hallmark-front
    holds "the operators' front is its user's" child front hallmark-operators
    for pid in $(child core hallmark) $(child front hallmark-front) $(child front hallmark-operators); do
        holds "each is scheduled in batches" sh -c "chrt -p $pid | grep -q SCHED_BATCH"
    done
    holds "state and log are still the core's" [ "$(stat -c '%U %a' /var/lib/hallmark /var/lib/hallmark/hallmark.db /var/lib/hallmark-log | tr '\n' ' ')" = 'hallmark 700 hallmark 600 hallmark 755 ' ]
    reloads hallmarkd.service hallmarkd.service
    before=$(child core hallmark) began=$(date +%s%N)
    kill -KILL "$before"
    holds "after kill -9 of the core, a mint that comes meanwhile is not refused" mint
    echo "  it took, start of the program included, $((($(date +%s%N) - began) / 1000000)) ms"
    fails "another core serves" [ "$(child core hallmark)" = "$before" ]
    until_another_serves hallmarkd.service 15 kill -KILL
    echo "  after kill -9 of the supervisor, another serves within $took ms"
    holds "and signs" mint
    before=$(child core hallmark) began=$(date +%s%N)
    kill -STOP "$before"
    holds "a core that hangs (SIGSTOP) is replaced by the supervisor, while a mint waits" mint
    echo "  it took $((($(date +%s%N) - began) / 1000000)) ms"

    since=$(now)
    put_pin wrong-pin
    fails "with a wrong PIN it does not start" systemctl restart hallmarkd.service
    holds "its exit code is 3" is hallmarkd.service ExecMainStatus 3
    sleep 3
    holds "it is not started again" is hallmarkd.service ActiveState failed
    holds "there was one start" [ "$(says_in_the_journal hallmarkd.service 'Starting hallmarkd.service' | wc -l)" -eq 1 ]
    put_pin pin
    exposure_max=60 exposures hallmarkd.service
    holds "the units of each process start" systemctl start $sockets $services
    within 10 mint
    echo "  and sign ($took ms)"
}
