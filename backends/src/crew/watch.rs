//! The thread that watches over those that sign: who waits too long is answered, and who hangs is replaced.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Crew, answer};
use crate::{choosing::ORDER_TIME_MAX, config::Choice, holder::Holder, seat::Seat, sign_error::SignError};

impl Crew {
    /// The life of the thread that watches.
    pub(super) fn watch(self: &Arc<Self>) {
        while self.alarm.wait() {
            let now = Instant::now();
            let (late, mut next) = self.queue.overdue(now, |job| job.deadline);
            for job in late {
                self.undecided(job.message.issuer);
                answer(job.done, Err(SignError::DeadlinePassed));
            }
            if next.is_some() && self.holders.choice == Choice::Ordered {
                // Somebody may have waited long enough for the first.
                self.look_again();
                next = next.map(|deadline| deadline.min(now + ORDER_TIME_MAX));
            }
            let seats: Vec<_> = self.seats().iter().map(Arc::clone).collect();
            for seat in seats {
                next = next.into_iter().chain(self.look_at(&seat, now)).min();
            }
            if let Some(next) = next {
                self.alarm.set(next);
            }
        }
    }

    /// Looks at one thread's work; when to look again.
    fn look_at(self: &Arc<Self>, seat: &Seat, now: Instant) -> Option<Instant> {
        let seen = seat.look(now, self.patience.hung_after);
        let holder = seat.holder();
        if let Some((issuer, done)) = seen.overdue {
            tracing::error!(key = %issuer, token = holder.name, "the device did not sign until the deadline");
            answer(done, Err(SignError::Overdue { issuer }));
        }
        if let Some(issuer) = seen.hangs {
            holder.failures.fetch_add(1, Ordering::Relaxed);
            holder.errors.count("HANGS".to_owned());
            if self.holders.are_several() {
                holder.breakers.hung(issuer, now);
                holder.alarm.set(now);
                self.look_again();
            } else {
                holder.breakers.failed(issuer, now);
            }
            self.replace(holder, seat);
        }
        if let Some(slow) = seen.slow
            && self.holders.can(&slow.key, slow.tried, now)
            && let Some(done) = seat.take_over(slow.number)
        {
            let issuer = slow.key.public.digest();
            tracing::error!(key = %issuer, token = holder.name, "the device takes long; another token is asked");
            let failed = Box::new(SignError::Slow { issuer, waited: slow.waited });
            answer(done, Err(SignError::SignAgain { failed, tried: slow.tried }));
        }
        seen.next
    }

    /// Another thread takes the place of one whose call hangs.
    fn replace(self: &Arc<Self>, holder: &Arc<Holder>, hung: &Seat) {
        let room = holder.seated.load(Ordering::SeqCst) < 2 * holder.size();
        tracing::error!(
            replaced = room,
            token = holder.name,
            "a call hangs in the key device; its thread is lost until it comes back"
        );
        let Some(backend) = holder.backend().filter(|_| room) else { return };
        match self.seat(holder, backend.signer()) {
            Ok(()) => hung.dismiss(),
            Err(error) => tracing::error!(%error, "no other thread takes its place"),
        }
    }
}
