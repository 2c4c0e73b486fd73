# The units of each process, without a supervisor. Read by `inside`.
# shellcheck shell=sh disable=SC2086,SC2154

each_process_is_a_user() {
    for pair in hallmark-core:hallmark hallmark-front:hallmark-front hallmark-operators:hallmark-operators; do
        unit=${pair%:*}.service user=${pair#*:}
        pid=$(main_pid $unit) uid=$(id -u $user)
        holds "$unit is of user \`$user\`" [ "$(field $pid Uid)" = "$uid $uid $uid $uid" ]
        holds "without capabilities" [ "$(field $pid CapBnd) $(field $pid CapEff)" = '0000000000000000 0000000000000000' ]
        holds "with seccomp, and without new privileges" [ "$(field $pid Seccomp) $(field $pid NoNewPrivs)" = '2 1' ]
        holds "scheduled in batches" sh -c "chrt -p $pid | grep -q SCHED_BATCH"
        holds "and closed to debuggers" [ "$(stat -c %U /proc/$pid/environ)" = root ]
    done
}

fronts_see_nothing_of_the_core() {
    for unit in hallmark-front.service hallmark-operators.service; do
        holds "$unit reads the configuration" in_view_of $unit cat $settings
        fails "$unit does not see the state directory, not even as root" as_root_in_view_of $unit ls /var/lib/hallmark/hallmark.db
        for path in /var/lib/hallmark /etc/hallmark/policy.toml /etc/hallmark/pin /run/credentials/hallmark-core.service; do
            fails "$unit does not read $path" in_view_of $unit sh -c "ls $path/ || cat $path"
        done
        holds "$unit writes its own temporary files" as_root_in_view_of $unit touch /tmp/x
        fails "$unit does not write the published log" in_view_of $unit touch /var/lib/hallmark-log/x
        for path in /etc/hallmark /var/lib/hallmark-log /var/lib /usr; do
            fails "$unit does not write $path, not even as root" as_root_in_view_of $unit touch $path/x
        done
    done
    fails "the callers' front does not read the operators' key" in_view_of hallmark-front.service cat /etc/hallmark/operators/server.key
    fails "the operators' front does not read the callers' key" in_view_of hallmark-operators.service cat /etc/hallmark/front/server.key
    for path in /etc/hallmark /etc/hallmark/policy.toml /usr/bin/hallmarkd; do
        fails "the core does not write $path, not even as root" as_root_in_view_of hallmark-core.service sh -c "touch $path/x || touch $path"
    done
}

core_has_no_network() {
    core=$(main_pid hallmark-core.service)
    fails "the core's network is not the machine's" [ "$(readlink "/proc/$core/ns/net")" = "$(readlink /proc/1/ns/net)" ]
    holds "it has loopback and nothing else" [ "$(nsenter -t "$core" -n ip -o link | cut -d : -f 2)" = " lo" ]
    holds "the front is reached from the machine" bash -c '</dev/tcp/127.0.0.1/4443'
    fails "and not from the core's network" nsenter -t "$core" -n bash -c '</dev/tcp/127.0.0.1/4443'
    for front in hallmark-front.service hallmark-operators.service; do
        holds "$front is on the machine's network" [ "$(readlink "/proc/$(main_pid $front)/ns/net")" = "$(readlink /proc/1/ns/net)" ]
    done
    holds "the doors are their users' alone" [ "$(stat -c '%U %a' /run/hallmark/callers /run/hallmark/operators | tr '\n' ' ')" = 'hallmark-front 600 hallmark-operators 600 ' ]
    holds "the callers' front comes to its door" connects hallmark-front callers
    fails "and not to the operators'" connects hallmark-front operators
    fails "nor the operators' front to the callers'" connects hallmark-operators callers
    fails "nor the core's user to either" connects hallmark callers
}

pin_is_a_credential() {
    holds "the core has a directory of credentials" sh -c "grep -az '^CREDENTIALS_DIRECTORY=' /proc/$(main_pid hallmark-core.service)/environ"
    fails "the PIN is neither in the core's environment nor in its arguments" sh -c "cat /proc/$(main_pid hallmark-core.service)/environ /proc/$(main_pid hallmark-core.service)/cmdline | grep -aFf pin"
    fails "nor in the journal" sh -c 'journalctl --no-pager | grep -Ff pin'
    if [ "$(systemd-run --quiet --wait --pipe -p LimitMEMLOCK=infinity sh -c 'ulimit -l')" = unlimited ]; then
        fails "the core's memory is locked" [ "$(field "$(main_pid hallmark-core.service)" VmLck)" = '0 kB' ]
    else
        echo "  (not tried: locked memory, whose limit this machine does not let anybody raise)"
    fi
    mv /etc/systemd/system/hallmark-core.service.d/pin.conf pin.conf
    systemd-creds encrypt --with-key=host --name=hallmark.pin pin /etc/hallmark/pin.cred 2>said
    printf '[Service]\nLoadCredentialEncrypted=hallmark.pin:/etc/hallmark/pin.cred\n' >/etc/systemd/system/hallmark-core.service.d/sealed.conf
    systemctl daemon-reload
    holds "a core whose PIN is sealed (LoadCredentialEncrypted=) starts" systemctl restart hallmark-core.service
    holds "and signs" mint
    rm /etc/systemd/system/hallmark-core.service.d/sealed.conf
    mv pin.conf /etc/systemd/system/hallmark-core.service.d/pin.conf
    systemctl daemon-reload
    systemctl restart hallmark-core.service
}

reloads() { # UNIT OF THE CORE, UNIT OF THE FRONT
    echo "# reloaded with $1" >>/etc/hallmark/policy.toml
    holds "systemctl reload $1" systemctl reload "$1"
    within 5 sh -c "HALLMARK_SIGNER=https://127.0.0.1:4444 HALLMARK_CERT=operator.pem HALLMARK_KEY=operator.key hallmark policy status 2>&1 | grep $(sha256sum /etc/hallmark/policy.toml | cut -c 1-64)"
    echo "  puts the policy into force that is there ($took ms)"
    since=$(now)
    cp -p /etc/hallmark/policy.toml good-policy.toml
    echo nonsense >>/etc/hallmark/policy.toml
    systemctl reload "$1"
    within 5 says_in_the_journal "$1" "SIGHUP: the old policy stays in force"
    holds "a policy with a mistake leaves the old one in force" mint
    cp -p good-policy.toml /etc/hallmark/policy.toml
    mkdir -p other
    hallmarkd lab other --force >said 2>&1
    install -m 0644 other/server.pem /etc/hallmark/front/
    install -m 0600 -o hallmark-front -g hallmark-front other/server.key /etc/hallmark/front/
    systemctl reload "$2"
    within 5 sh -c "openssl s_client -connect 127.0.0.1:4443 </dev/null 2>/dev/null | openssl x509 -noout -serial | grep \$(openssl x509 -noout -serial -in other/server.pem)"
    echo "  systemctl reload $2 has the front show its new certificate ($took ms)"
    install -m 0644 server.pem /etc/hallmark/front/
    install -m 0600 -o hallmark-front -g hallmark-front server.key /etc/hallmark/front/
    systemctl reload "$2"
    within 5 mint
}
