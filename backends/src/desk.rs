//! A thread that does one thing after another with a device, for callers who wait so long and no longer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::error::BackendError;

/// How often is looked whether the thread has gone.
const LOOK: Duration = Duration::from_millis(1);

/// How long whoever drops a desk waits for it. Nobody waits for an errand then, and those that were given up are not waited for.
const PATIENCE_MAX: Duration = Duration::from_secs(10);

/// One thread, and the way to it. A call that hangs costs this thread until it comes back; those who come meanwhile wait
/// their time and are told so. [`Desk::end`] waits for the thread, unless that hangs: a module's library cleans up after a
/// thread when it ends, and after the process when that ends, and falls over itself where it does both at once. So whoever has the
/// module closed ends its desks, and does not leave that to whichever thread drops them last.
#[derive(Debug)]
pub(crate) struct Desk {
    /// None once it has ended.
    errands: Mutex<Option<mpsc::Sender<Errand>>>,
    /// None once it was waited for.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Errands that were given up and have not come back.
    hanging: Arc<AtomicUsize>,
    /// Errands that have not ended.
    errands_left: Arc<AtomicUsize>,
}

type Errand = Box<dyn FnOnce() + Send>;

/// Whether somebody still waits for an errand.
#[derive(Debug, PartialEq, Eq)]
enum Waits {
    Yes,
    /// The result is on its way.
    Answered,
    Gone,
}

impl Desk {
    pub(crate) fn open(name: &str) -> Result<Self, BackendError> {
        let (errands, work) = mpsc::channel::<Errand>();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work.into_iter().for_each(|errand| errand()))
            .map_err(|source| BackendError::Thread { source })?;
        Ok(Self {
            errands: Mutex::new(Some(errands)),
            thread: Mutex::new(Some(thread)),
            hanging: Arc::default(),
            errands_left: Arc::default(),
        })
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.errands_left.load(Ordering::SeqCst) == 0
    }

    /// Whether it takes no more errands.
    pub(crate) fn has_ended(&self) -> bool {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Takes no more errands, and waits until its thread has gone, for so long; not if that hangs, or is this one.
    pub(crate) fn end(&self, patience: Duration) {
        drop(self.errands.lock().unwrap_or_else(PoisonError::into_inner).take());
        let mut place = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = place.take_if(|thread| thread.thread().id() != thread::current().id()) else { return };
        let until = Instant::now() + patience;
        while !thread.is_finished() && self.hanging.load(Ordering::SeqCst) == 0 && Instant::now() < until {
            thread::sleep(LOOK);
        }
        if thread.is_finished() {
            // It goes on with what the module cleans up. A panic of an errand ended there.
            let _ = thread.join();
        } else {
            tracing::warn!(thread = thread.thread().name(), "a thread that is in the key device is left behind");
            *place = Some(thread);
        }
    }

    /// Does `work` on the desk's thread, for a caller who waits for `within`; `operation` says in words what it is. Work that
    /// nobody waits for any more is not begun; what it gives when its caller has gone is given to `undo`.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        within: Duration,
        work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, BackendError> {
        let waits = Arc::new(Mutex::new(Waits::Yes));
        let (still, hanging) = (Arc::clone(&waits), Arc::clone(&self.hanging));
        let (answer, answered) = mpsc::sync_channel(1);
        let left = Left::one_more(&self.errands_left);
        let errand = move || {
            if *still.lock().unwrap_or_else(PoisonError::into_inner) != Waits::Yes {
                hanging.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(BackendError::Panicked { operation }));
            // Before it is answered: whoever hears the answer finds the desk idle.
            drop(left);
            let mut waits = still.lock().unwrap_or_else(PoisonError::into_inner);
            if *waits == Waits::Yes {
                *waits = Waits::Answered;
                // There is room for it, and the caller holds the other end.
                let _ = answer.send(result);
                return;
            }
            drop(waits);
            match result {
                Ok(result) => {
                    tracing::warn!(operation, "the key device came back after its caller had gone");
                    if catch_unwind(AssertUnwindSafe(|| undo(result))).is_err() {
                        tracing::error!(operation, "undoing it ended by a fault in this program");
                    }
                }
                Err(error) => {
                    tracing::warn!(operation, %error, "the key device failed after its caller had gone");
                }
            }
            hanging.fetch_sub(1, Ordering::SeqCst);
        };
        let errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = errands.as_ref().is_some_and(|errands| errands.send(Box::new(errand)).is_ok());
        drop(errands);
        let hung = BackendError::Hung { operation, waited_secs: within.as_secs() };
        if !sent {
            return Err(BackendError::Stopped { operation });
        }
        if let Ok(result) = answered.recv_timeout(within) {
            return result;
        }
        let mut waits = waits.lock().unwrap_or_else(PoisonError::into_inner);
        if *waits == Waits::Answered {
            drop(waits);
            return answered.recv().unwrap_or(Err(BackendError::Panicked { operation }));
        }
        *waits = Waits::Gone;
        self.hanging.fetch_add(1, Ordering::SeqCst);
        tracing::error!(operation, ?within, "the key device does not answer");
        Err(hung)
    }
}

/// An errand that has not ended.
struct Left(Arc<AtomicUsize>);

impl Left {
    fn one_more(errands: &Arc<AtomicUsize>) -> Self {
        errands.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(errands))
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.end(PATIENCE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, sync::atomic::Ordering::SeqCst};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn work_is_done_on_the_desk_s_thread_and_its_panics_stay_there() {
        let desk = Desk::open("desk").unwrap();
        let name = || Ok(thread::current().name().map(str::to_owned));
        assert_eq!(desk.run("work", AMPLE, name, drop).unwrap().as_deref(), Some("desk"));
        let error = desk.run::<()>("fall", AMPLE, || panic!("on purpose"), drop).unwrap_err();
        assert!(matches!(error, BackendError::Panicked { operation: "fall" }), "{error}");
        desk.run("work", AMPLE, || Ok(()), drop).unwrap();
    }

    #[test]
    fn when_a_desk_has_ended_its_thread_has_gone_with_all_that_it_held_whoever_still_holds_the_desk() {
        struct Slow(mpsc::Sender<()>);
        impl Drop for Slow {
            fn drop(&mut self) {
                thread::sleep(SHORT);
                let _ = self.0.send(());
            }
        }
        thread_local!(static HELD: RefCell<Option<Slow>> = const { RefCell::new(None) });
        let desk = Desk::open("desk").unwrap();
        let (gone, went) = mpsc::channel();
        let hold = move || {
            HELD.set(Some(Slow(gone)));
            Ok(())
        };
        desk.run("hold", AMPLE, hold, drop).unwrap();
        desk.end(AMPLE);
        went.try_recv().unwrap();
        let error = desk.run("work", AMPLE, || Ok(()), drop).unwrap_err();
        assert!(desk.has_ended() && matches!(error, BackendError::Stopped { operation: "work" }), "{error}");
        desk.end(AMPLE);
    }

    #[test]
    fn nobody_waits_for_the_thread_of_a_desk_that_hangs() {
        let desk = Desk::open("desk").unwrap();
        let (release, released) = mpsc::channel::<()>();
        let hangs = move || {
            // It ends with this test.
            let _ = released.recv();
            Ok(())
        };
        assert!(matches!(desk.run("hang", SHORT, hangs, drop), Err(BackendError::Hung { .. })));
        drop(desk);
        drop(release);
    }

    #[test]
    fn what_is_under_way_at_the_end_is_waited_for_so_long_and_no_longer() {
        let desk = Desk::open("desk").unwrap();
        let ((begin, begun), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        let hangs = move || {
            begin.send(()).unwrap();
            // It ends with this test.
            let _ = released.recv();
            Ok(())
        };
        thread::scope(|scope| {
            let waits = scope.spawn(|| desk.run("hang", AMPLE, hangs, drop));
            begun.recv().unwrap();
            let began = Instant::now();
            desk.end(SHORT);
            assert!((SHORT..AMPLE).contains(&began.elapsed()));
            drop(release);
            waits.join().unwrap().unwrap();
        });
    }

    #[test]
    fn who_waits_for_a_desk_that_hangs_is_answered_in_time_and_what_comes_late_is_undone() {
        let desk = Desk::open("desk").unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (undo, undone) = mpsc::channel();
        let began = Instant::now();
        let hangs = move || {
            released.recv().unwrap();
            Ok(())
        };
        let error = desk.run("hang", SHORT, hangs, move |()| undo.send(()).unwrap()).unwrap_err();
        assert!(matches!(error, BackendError::Hung { .. }) && began.elapsed() >= SHORT, "{error}");
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let behind = desk.run("wait", SHORT, move || Ok(count.fetch_add(1, SeqCst)), drop);
        assert!(matches!(behind, Err(BackendError::Hung { .. })));
        release.send(()).unwrap();
        desk.run("work", AMPLE, || Ok(()), drop).unwrap();
        undone.try_recv().unwrap();
        assert_eq!(begun.load(SeqCst), 0, "what nobody waits for is not begun");
    }
}
