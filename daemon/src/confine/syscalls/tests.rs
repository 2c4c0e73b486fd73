use seccompiler::sock_filter;

use super::*;

const CORE: Half = Half::Core { network: false };
const NETWORK: Half = Half::Core { network: true };

/// What the kernel would answer (seccomp(2), bpf(4)): the machine that a filter is a program for, as far as seccompiler uses it.
fn run(program: &[sock_filter], call: i64, arguments: [u64; 6]) -> u32 {
    let architecture = if ARCH == "x86_64" { 0xc000_003e } else { 0xc000_00b7 };
    let word = |offset: u32| match offset {
        0 => u32::try_from(call).unwrap(),
        4 => architecture,
        16.. => {
            let argument = arguments[(offset as usize - 16) / 8].to_le_bytes();
            u32::from_le_bytes(argument[(offset as usize % 8)..][..4].try_into().unwrap())
        }
        _ => panic!("no field at {offset}"),
    };
    let (mut accumulator, mut at) = (0, 0_usize);
    loop {
        let instruction = &program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
        match instruction.code {
            0x20 => accumulator = word(instruction.k),
            0x54 => accumulator &= instruction.k,
            0x05 => at += instruction.k as usize,
            0x15 => at += jump(accumulator == instruction.k),
            0x25 => at += jump(accumulator > instruction.k),
            0x35 => at += jump(accumulator >= instruction.k),
            0x06 => return instruction.k,
            other => panic!("no instruction {other:#x}"),
        }
    }
}

/// The error of a call; none if it is let through.
fn error(half: Half, call: i64, arguments: &[u64]) -> Option<i32> {
    const ERRNO: u32 = 0x0005_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    let verdicts = programs(half).unwrap().into_iter().map(|program| run(&program, call, six));
    let strictest = verdicts.min().unwrap();
    if strictest == ALLOW {
        return None;
    }
    assert_eq!(strictest & 0xffff_0000, ERRNO);
    Some(i32::try_from(strictest & 0xffff).unwrap())
}

fn is_refused(half: Half, call: i64, arguments: &[u64]) -> bool {
    error(half, call, arguments) == Some(libc::EPERM)
}

#[test]
fn neither_half_runs_programs_or_reaches_into_others_or_the_kernel() {
    for half in [Half::Front, CORE, NETWORK] {
        for call in REFUSED.into_iter().chain(REFUSED_HERE) {
            assert!(is_refused(half, call, &[]), "{half:?} {call}");
            assert!(ARCH != "x86_64" || is_refused(half, X32 | call, &[]), "{half:?} {call} of x32");
        }
        for request in TERMINAL {
            assert!(is_refused(half, libc::SYS_ioctl, &[0, request]));
        }
        for call in [libc::SYS_read, libc::SYS_write, libc::SYS_futex, libc::SYS_accept4, libc::SYS_connect] {
            assert_eq!(error(half, call, &[]), None, "{half:?} {call}");
        }
        assert_eq!(error(half, libc::SYS_ioctl, &[0, libc::FIONBIO]), None);
    }
}

#[test]
fn a_front_starts_no_process_and_no_program_and_signals_nobody_else() {
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    assert_eq!(error(Half::Front, libc::SYS_clone, &[u64::try_from(thread).unwrap()]), None);
    let process = libc::SIGCHLD | libc::CLONE_VM | libc::CLONE_VFORK;
    for flags in [libc::SIGCHLD, process] {
        assert!(is_refused(Half::Front, libc::SYS_clone, &[u64::try_from(flags).unwrap()]));
    }
    assert_eq!(error(Half::Front, libc::SYS_clone3, &[]), Some(libc::ENOSYS));
    let own = u64::from(process::id());
    assert_eq!(error(Half::Front, libc::SYS_tgkill, &[own, own, 6]), None);
    assert!(is_refused(Half::Front, libc::SYS_tgkill, &[own + 1, own + 1, 9]));
    for call in REFUSED_TO_FRONTS.into_iter().chain(REFUSED_TO_FRONTS_HERE) {
        assert!(is_refused(Half::Front, call, &[]), "{call}");
    }
}

#[test]
fn a_front_opens_nothing_for_writing_and_runs_nothing_that_it_wrote() {
    let opens = |flags: i32| error(Half::Front, libc::SYS_openat, &[0, 0, u64::try_from(flags).unwrap()]);
    assert_eq!(opens(libc::O_RDONLY | libc::O_CLOEXEC), None);
    for flags in [libc::O_WRONLY, libc::O_RDWR | libc::O_CLOEXEC, libc::O_RDONLY | libc::O_TRUNC, libc::O_CREAT] {
        assert_eq!(opens(flags), Some(libc::EPERM), "{flags:#o}");
    }
    let maps = |call, protection: i32| error(Half::Front, call, &[0, 4_096, u64::try_from(protection).unwrap()]);
    for call in [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        assert_eq!(maps(call, libc::PROT_READ | libc::PROT_WRITE), None);
        assert_eq!(maps(call, libc::PROT_READ | libc::PROT_EXEC), Some(libc::EPERM));
        assert_eq!(error(CORE, call, &[0, 4_096, 5]), None, "a module is loaded");
    }
}

#[test]
fn only_a_core_that_has_the_network_makes_sockets_of_it() {
    let socket = |half, family: i32| error(half, libc::SYS_socket, &[u64::try_from(family).unwrap(), 1, 0]);
    for family in [libc::AF_INET, libc::AF_INET6, libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH] {
        assert_eq!(socket(Half::Front, family), Some(libc::EPERM));
        assert_eq!(socket(CORE, family), Some(libc::EPERM));
        assert_eq!(socket(NETWORK, family), None);
    }
    assert_eq!(socket(Half::Front, libc::AF_NETLINK), Some(libc::EPERM));
    assert_eq!(socket(CORE, libc::AF_NETLINK), None);
    for half in [Half::Front, CORE, NETWORK] {
        assert_eq!(socket(half, libc::AF_UNIX), None);
    }
}
