# The package installed and configured, as docs/installing.md says. Read by `inside`.
# shellcheck shell=sh disable=SC2086,SC2154

install_by_the_page() {
    page Install
    holds "three users came to be" sh -c 'id hallmark && id hallmark-front && id hallmark-operators'
    fails "nothing is enabled" sh -c 'systemctl list-unit-files "hallmark*" --state=enabled --no-legend | grep .'
    holds "nothing runs" nothing_runs
    fails "no key was made" sh -c 'find /etc/hallmark /var/lib/hallmark /var/lib/hallmark-log -type f | grep -v -e /signer.toml -e /policy.toml'
    holds "the policy that came with it has no mistake, and certifies nothing" sh -c 'hallmark policy check /etc/hallmark/policy.toml | grep "every call is refused"'
    fails "a core that was not configured does not start" systemctl start hallmark-core.service
    holds "and says what to do" sh -c 'journalctl -u hallmark-core -o cat | grep "hint: run .hallmarkd init"'
    systemctl stop hallmark-core.service $sockets
    holds "manual pages are found" man -w hallmarkd hallmark hallmark-mint hallmark-publish
    for shell in bash zsh fish; do
        case $shell in bash) files=/usr/share/bash-completion/completions/ ;; zsh) files=/usr/share/zsh/vendor-completions/_ ;; fish) files=/usr/share/fish/vendor_completions.d/ ;; esac
        if command -v $shell >/dev/null; then
            for file in "$files"hallmark*; do $shell -n "$file"; done
            echo "  $shell takes the completions"
        fi
    done
}

configure_by_the_page() {
    # A laboratory has what a PKI and a device would give. The token lies where the core may write.
    sed -i 's/^# roots-without-ceremony/roots-without-ceremony/' $settings
    mkdir -p /var/lib/hallmark/softhsm
    ./softhsm-config/token /var/lib/hallmark/softhsm hallmark "$PWD/pin" "$PWD/so-pin" >said
    chmod 755 /etc/softhsm
    install -m 644 /var/lib/hallmark/softhsm/softhsm2.conf /etc/softhsm/softhsm2.conf
    chown -R hallmark:hallmark /var/lib/hallmark/softhsm
    hallmarkd lab . >said 2>&1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=sports.api \
        -addext 'subjectAltName=DNS:api.sports.lab.athenz.cloud' -keyout api.key -out api.csr 2>said
    page Configure
    page 'Make the authority'
}
