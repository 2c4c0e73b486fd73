//! Handshakes under way: until one is over, a stranger holds a place. Where all are taken, the oldest of the network with most gives way, so that
//! strangers who are slow keep out nobody who is not.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;

/// Most handshakes at one time, so that strangers cannot take every place.
pub const HANDSHAKES_MAX: usize = 256;

/// Bits of an IPv6 address that tell networks apart: who has one address there, has all of a /64.
const NETWORK_BITS: u32 = 64;

/// Those that are under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshakes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    under_way: BTreeMap<u64, (IpAddr, Option<AbortHandle>)>,
    networks: HashMap<IpAddr, usize>,
}

/// The place of a handshake, until it is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Handshakes,
    number: u64,
}

/// Which one it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(u64);

impl Handshakes {
    /// A place for a peer with this address, and whether another one was broken off for it.
    pub(crate) fn begin(&self, peer: IpAddr) -> (Handshake, bool) {
        let network = network(peer);
        let mut state = self.lock();
        let broken_off = state.under_way.len() >= HANDSHAKES_MAX && state.break_off();
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        state.under_way.insert(number, (network, None));
        *state.networks.entry(network).or_default() += 1;
        drop(state);
        (Handshake { handshakes: self.clone(), number }, broken_off)
    }

    /// Which task it is, so that it can be broken off.
    pub(crate) fn is_done_by(&self, Number(number): Number, task: AbortHandle) {
        if let Some((_, of)) = self.lock().under_way.get_mut(&number) {
            *of = Some(task);
        }
    }

    /// No code runs under this lock that could leave the state half changed, so a poisoned one is as good.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Breaks off the oldest handshake of the network with most.
    fn break_off(&mut self) -> bool {
        let most = self.networks.values().max().copied();
        let is_of_most = |(network, _): &(IpAddr, Option<AbortHandle>)| self.networks.get(network).copied() == most;
        let oldest = self.under_way.iter().find(|(_, of)| is_of_most(of)).map(|(number, _)| *number);
        let Some((network, task)) = oldest.and_then(|oldest| self.under_way.remove(&oldest)) else { return false };
        self.left(network);
        // Its place is not given up yet, so it is no connection yet.
        if let Some(task) = task {
            task.abort();
        }
        true
    }

    fn left(&mut self, network: IpAddr) {
        if let Some(handshakes) = self.networks.get_mut(&network) {
            *handshakes = handshakes.saturating_sub(1);
            if *handshakes == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

impl Handshake {
    pub(crate) fn number(&self) -> Number {
        Number(self.number)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut state = self.handshakes.lock();
        if let Some((network, _)) = state.under_way.remove(&self.number) {
            state.left(network);
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(handshakes: &Handshakes, peer: &str) -> (Handshake, tokio::task::JoinHandle<()>) {
        let (handshake, _) = handshakes.begin(peer.parse().unwrap());
        let task = tokio::spawn(std::future::pending());
        handshakes.is_done_by(handshake.number(), task.abort_handle());
        (handshake, task)
    }

    #[tokio::test]
    async fn the_oldest_handshake_of_the_network_with_most_gives_way() {
        let handshakes = Handshakes::default();
        let (quiet, quiet_task) = begin(&handshakes, "192.0.2.1");
        let mut many: Vec<_> =
            (1..HANDSHAKES_MAX).map(|at| begin(&handshakes, &format!("2001:db8:0:1::{at:x}"))).collect();
        let (new, broken_off) = handshakes.begin("192.0.2.2".parse().unwrap());
        assert!(broken_off);
        assert!((&mut many[0].1).await.unwrap_err().is_cancelled());
        assert!(!quiet_task.is_finished() && !many[1].1.is_finished());
        let state = handshakes.lock();
        assert_eq!((state.under_way.len(), state.networks.len()), (HANDSHAKES_MAX, 3));
        drop(state);
        drop((quiet, new, many));
        let state = handshakes.lock();
        assert!(state.under_way.is_empty() && state.networks.is_empty());
    }

    #[tokio::test]
    async fn nobody_gives_way_while_there_are_places() {
        let handshakes = Handshakes::default();
        let held: Vec<_> = (0..HANDSHAKES_MAX).map(|_| handshakes.begin("192.0.2.1".parse().unwrap())).collect();
        assert!(held.iter().all(|(_, broken_off)| !broken_off));
        drop(held);
        assert!(!handshakes.begin("192.0.2.1".parse().unwrap()).1);
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
