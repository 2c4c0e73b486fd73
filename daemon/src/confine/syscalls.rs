//! System calls, by seccomp(2): what neither half ever needs is answered with EPERM.
//!
//! A list of what is refused, and not of what is allowed: a vendor's module does what it likes otherwise, and an allocator or a C library
//! of tomorrow makes calls that nobody thinks of today.

use std::{collections::BTreeMap, env::consts::ARCH};

use nix::libc;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// Other processes' memory, other programs, other namespaces, the kernel itself, and io_uring, which would go around all this.
const REFUSED: [i64; 33] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];

/// Kinds of sockets that reach beyond this machine, or below its firewall.
const NETWORK: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET, libc::AF_VSOCK];

/// The calls of the x32 ABI have numbers of their own (arch/x86/entry/syscalls/syscall_64.tbl): execve, ptrace, process_vm_readv,
/// process_vm_writev, execveat.
const REFUSED_X32: [i64; 5] = [520, 521, 539, 540, 545];
/// The bit that marks them.
const X32: i64 = 0x4000_0000;

/// From now on these fail. Holds for threads that are made later.
pub(super) fn restrict(network: bool) -> Result<(), Error> {
    apply_filter(&program(network)?)
}

fn program(network: bool) -> Result<BpfProgram, Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    if !network {
        rules.insert(libc::SYS_socket, NETWORK.into_iter().map(of_family).collect::<Result<_, _>>()?);
    }
    if ARCH == "x86_64" {
        let also: Vec<_> = rules.iter().map(|(call, rules)| (X32 | call, rules.clone())).collect();
        rules.extend(also);
        rules.extend(REFUSED_X32.map(|call| (X32 | call, Vec::new())));
    }
    let refusal = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, TargetArch::try_from(ARCH)?)?;
    Ok(filter.try_into()?)
}

fn of_family(family: i32) -> Result<SeccompRule, Error> {
    let is = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(family.unsigned_abs()))?;
    Ok(SeccompRule::new(vec![is])?)
}
