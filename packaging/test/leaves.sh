# Upgrade, removal and purge, as docs/installing.md says. Read by `inside`.
# shellcheck shell=sh disable=SC2086,SC2154

kept() { sha256sum /etc/hallmark/*.toml /etc/hallmark/pin /etc/hallmark/*/* /var/lib/hallmark/log.key; }

upgrade_by_the_page() {
    kept >before
    hallmark mint --profile athenz-service --csr api.csr --request-id before-the-upgrade --out before.pem >said 2>&1
    core=$(main_pid hallmark-core.service) users=$(getent passwd hallmark hallmark-front hallmark-operators)
    page Upgrade
    holds "the new version is there" sh -c 'dpkg-query -W -f "\${Version}" hallmark | grep -e -2$'
    holds "configuration and keys are as before" sh -c "sha256sum --check --quiet before"
    holds "the policy is still the core's alone to read" [ "$(stat -c '%U %G %a' /etc/hallmark/policy.toml)" = 'root hallmark 640' ]
    holds "so are the users" [ "$users" = "$(getent passwd hallmark hallmark-front hallmark-operators)" ]
    fails "the core was restarted" [ "$(main_pid hallmark-core.service)" = "$core" ]
    within 10 hallmark mint --profile athenz-service --csr api.csr --request-id before-the-upgrade --out after.pem --force
    holds "the same request has the same certificate" cmp before.pem after.pem
    holds "what did not run does not run" [ "$(systemctl is-active hallmarkd.service)" != active ]
}

remove_by_the_page() {
    find /var/lib/hallmark /var/lib/hallmark-log -type f ! -name '*.db-*' >files
    page Remove
    holds "nothing runs" nothing_runs
    fails "the doors are gone" test -e /run/hallmark/callers
    fails "so are the programs" test -e /usr/bin/hallmarkd
    holds "configuration and keys are as before" sh -c "sha256sum --check --quiet before"
    holds "so is the log" sh -c 'xargs ls <files'
    page Install
    holds "installed again, it starts as it was configured" systemctl start $sockets $services
    within 10 mint
    echo "  and signs ($took ms)"
}

purge_by_the_page() {
    dpkg --listfiles hallmark >listed
    page Purge
    holds "nothing runs" nothing_runs
    fails "the configuration that came with it is gone" sh -c 'ls /etc/hallmark/*.toml'
    fails "nothing of it is enabled" sh -c 'ls /etc/systemd/system/*.wants/hallmark*'
    holds "ledger, keys and log are there" sh -c 'xargs ls <files'
    holds "TLS files and the PIN, too" ls /etc/hallmark/front/server.key /etc/hallmark/operators/server.key /etc/hallmark/pin
    holds "of the package's own files, none is" sh -c 'while read -r path; do [ ! -f "$path" ] || { echo "$path"; exit 1; }; done <listed'
}
