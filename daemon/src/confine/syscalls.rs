//! System calls, by seccomp(2): what a half never needs is answered with EPERM.
//!
//! A list of what is refused, and not of what is allowed: a vendor's module does what it likes otherwise, and an allocator or a C library
//! of tomorrow makes calls that nobody thinks of today. `docs/processes.md` says which these are.

use std::{collections::BTreeMap, env::consts::ARCH, process};

use nix::libc;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::Half;

/// For both halves: other processes' memory, other programs, other namespaces, the kernel itself, its clocks, and io_uring, which would
/// go around all this.
const REFUSED: [i64; 56] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_personality,
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
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// For a front, too: becoming somebody, signalling somebody, shared memory, and whatever changes a file, its name, owner, mode or times.
const REFUSED_TO_FRONTS: [i64; 47] = [
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_openat2,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_mark,
];

/// Calls that only this architecture has, for both halves.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: [i64; 3] = [libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: [i64; 0] = [];

/// The same, for fronts.
#[cfg(target_arch = "x86_64")]
const REFUSED_TO_FRONTS_HERE: [i64; 15] = [
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_TO_FRONTS_HERE: [i64; 0] = [];

/// Input that a terminal takes for typed (ioctl_tty(2)).
const TERMINAL: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Calls of the x32 ABI that have numbers of their own (arch/x86/entry/syscalls/syscall_64.tbl): ioctl, execve, ptrace, rt_sigqueueinfo,
/// kexec_load, move_pages, rt_tgsigqueueinfo, process_vm_readv, process_vm_writev, execveat. No C library makes them.
const REFUSED_X32: [i64; 10] = [514, 520, 521, 524, 528, 533, 536, 539, 540, 545];
/// The bit that marks them.
const X32: i64 = 0x4000_0000;

/// Rules by call; none mean that every such call is refused.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// From now on these fail. Holds for threads that are made later.
pub(super) fn restrict(half: Half) -> Result<(), Error> {
    programs(half)?.iter().try_for_each(|program| apply_filter(program))
}

/// The filters, of which the strictest has its way.
fn programs(half: Half) -> Result<Vec<BpfProgram>, Error> {
    let mut rules = both()?;
    match half {
        Half::Core { network: true } => return Ok(vec![program(rules, libc::EPERM)?]),
        // libusb hears of devices by netlink(7).
        Half::Core { network: false } => {
            rules.insert(libc::SYS_socket, vec![when(&[is_not(0, libc::AF_UNIX)?, is_not(0, libc::AF_NETLINK)?])?]);
            return Ok(vec![program(rules, libc::EPERM)?]);
        }
        Half::Front => rules.extend(of_fronts()?),
    }
    // Its flags are out of sight, in memory; told that there is no such call, a C library makes its threads by clone(2).
    let unseen = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(vec![program(rules, libc::EPERM)?, program(unseen, libc::ENOSYS)?])
}

fn both() -> Result<Rules, Error> {
    let mut rules: Rules = REFUSED.into_iter().chain(REFUSED_HERE).map(|call| (call, Vec::new())).collect();
    let typing = TERMINAL.into_iter().map(|request| when(&[has(1, u64::from(u32::MAX), request)?]));
    rules.insert(libc::SYS_ioctl, typing.collect::<Result<_, _>>()?);
    Ok(rules)
}

fn of_fronts() -> Result<Rules, Error> {
    let always = REFUSED_TO_FRONTS.into_iter().chain(REFUSED_TO_FRONTS_HERE);
    let mut rules: Rules = always.map(|call| (call, Vec::new())).collect();
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    rules.insert(libc::SYS_clone, vec![when(&[has(0, thread, 0)?])?]);
    rules.insert(libc::SYS_socket, vec![when(&[is_not(0, libc::AF_UNIX)?])?]);
    // abort(3) signals its own process.
    rules.insert(libc::SYS_tgkill, vec![when(&[is_not(0, process::id().cast_signed())?])?]);
    // Its own limits may be read, as C libraries do.
    rules.insert(libc::SYS_prlimit64, vec![when(&[is_not(0, 0)?])?]);
    let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(call, vec![when(&[has(2, executable, executable)?])?]);
    }
    rules.insert(libc::SYS_openat, writing(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, writing(1)?);
    Ok(rules)
}

/// A file that is opened for writing, made or cut; its flags are this argument.
fn writing(argument: u8) -> Result<Vec<SeccompRule>, Error> {
    let mode = u64::from(libc::O_ACCMODE.unsigned_abs());
    let flags = [(mode, libc::O_WRONLY), (mode, libc::O_RDWR)].into_iter();
    let more = [libc::O_CREAT, libc::O_TRUNC].map(|flag| (u64::from(flag.unsigned_abs()), flag));
    flags.chain(more).map(|(mask, flag)| when(&[has(argument, mask, u64::from(flag.unsigned_abs()))?])).collect()
}

fn program(mut rules: Rules, refusal: i32) -> Result<BpfProgram, Error> {
    if ARCH == "x86_64" {
        let also: Vec<_> = rules.iter().map(|(call, rules)| (X32 | call, rules.clone())).collect();
        rules.extend(also);
        if rules.contains_key(&libc::SYS_execve) {
            rules.extend(REFUSED_X32.map(|call| (X32 | call, Vec::new())));
        }
    }
    let refusal = SeccompAction::Errno(refusal.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, TargetArch::try_from(ARCH)?)?;
    Ok(filter.try_into()?)
}

fn when(conditions: &[SeccompCondition]) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

/// An argument is not this.
fn is_not(argument: u8, value: i32) -> Result<SeccompCondition, Error> {
    let value = u64::from(value.unsigned_abs());
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)?)
}

/// The bits of an argument under a mask are these.
fn has(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)?)
}

#[cfg(test)]
mod tests;
