# The words in which the other files say what has to hold. Read by `inside`.
# shellcheck shell=sh disable=SC2034,SC2086

HALLMARK_SIGNER=https://127.0.0.1:4443 HALLMARK_CA=server-ca.pem HALLMARK_CERT=coordinator.pem HALLMARK_KEY=coordinator.key
export HALLMARK_SIGNER HALLMARK_CA HALLMARK_CERT HALLMARK_KEY
# No terminal, whose lines would end otherwise than the page's.
echo 'Dpkg::Use-Pty "0";' >apt.conf
export DEBIAN_FRONTEND=noninteractive APT_CONFIG=$PWD/apt.conf
sockets='hallmark-core.socket hallmark-core-operators.socket'
services='hallmark-core.service hallmark-front.service hallmark-operators.service'
settings=/etc/hallmark/signer.toml

at_the_end() {
    code=$?
    [ "$code" -eq 0 ] || {
        echo "failed, after what stands above; the end of what was said:" >&2
        tail -n 20 said >&2 2>/dev/null || true
        journalctl --no-pager -o short-precise -n 40 -u 'hallmark*' >&2 || true
    }
}
trap at_the_end EXIT

# holds SENTENCE COMMAND..: what must succeed.
holds() {
    sentence=$1
    shift
    "$@" >said 2>&1 || {
        echo "NOT: $sentence: $*" >&2
        return 1
    }
    echo "  $sentence"
}

# fails SENTENCE COMMAND..: what must not.
fails() {
    sentence=$1
    shift
    if "$@" >said 2>&1; then
        echo "NOT: $sentence: $*" >&2
        return 1
    fi
    echo "  $sentence"
}

# within SECONDS COMMAND..: tries again and again; sets `took`, in milliseconds.
within() {
    limit=$1 began=$(date +%s%N)
    shift
    until "$@" >said 2>&1; do
        took=$((($(date +%s%N) - began) / 1000000))
        if [ "$took" -gt $((limit * 1000)) ]; then
            echo "NOT within $limit s: $*" >&2
            return 1
        fi
        sleep 0.05
    done
    took=$((($(date +%s%N) - began) / 1000000))
}

# The commands of a section of docs/installing.md, with what they are expected to say.
page() {
    rm -f expected.*
    awk -v wanted="$1" '
        /^## / { section = substr($0, 4) }
        /^```$/ && inside { printf "{\n%s} >said 2>&1\nall_is_said expected.%d\n", commands, number; inside = 0 }
        inside && /^[$>] / { commands = commands substr($0, 3) "\n"; next }
        inside { print >("expected." number) }
        /^```console$/ && section == wanted { inside = 1; commands = ""; number++ }
    ' installing.md >block
    [ -s block ] || {
        echo "the page has no section \`$1\` with commands" >&2
        return 1
    }
    # shellcheck source=/dev/null
    . ./block
    echo "  docs/installing.md, \`$1\`, does what the page says"
}

# Every line of a file, if there is one, was said.
all_is_said() {
    [ ! -e "$1" ] || while read -r line; do
        grep -Fxq -- "$line" said || {
            echo "NOT said: $line" >&2
            return 1
        }
    done <"$1"
}

main_pid() { systemctl show -P MainPID "$1"; }
is() { [ "$(systemctl show -P "$2" "$1")" = "$3" ]; }
field() { awk -v name="$2:" '$1 == name { $1 = ""; print substr($0, 2) }' "/proc/$1/status"; }
mint() {
    hallmark mint --profile athenz-service --csr api.csr --out minted.pem --force &&
        openssl verify -x509_strict -CAfile root.pem -untrusted intermediate.pem minted.pem
}
# in_view_of UNIT COMMAND..: with the files that its process sees, as its user.
in_view_of() {
    pid=$(main_pid "$1")
    uid=$(field "$pid" Uid) gid=$(field "$pid" Gid)
    shift
    nsenter -t "$pid" -m -S "${uid%% *}" -G "${gid%% *}" -- "$@"
}
as_root_in_view_of() {
    pid=$(main_pid "$1")
    shift
    nsenter -t "$pid" -m -- "$@"
}
nothing_runs() { ! pgrep -u hallmark,hallmark-front,hallmark-operators && ! pgrep -x hallmarkd; }
connects() { runuser -u "$1" -- perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer => $ARGV[0]) or exit 1' "/run/hallmark/$2"; }
says_in_the_journal() { journalctl --no-pager -q --since "$since" -u "$1" -o cat | grep -F -- "$2"; }
put_pin() { install -m 0600 "$1" /etc/hallmark/pin; }
exposure() { systemd-analyze security --no-pager "$1" | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\) .*/\1/p'; }
now() { date '+%F %T.%N' | cut -c 1-23; }
