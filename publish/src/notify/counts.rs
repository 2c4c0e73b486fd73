//! What became of the entries, in numbers.

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Messages that were taken.
    pub(super) sent: u64,
    /// Entries that were folded into the message of an earlier one.
    pub(super) folded: u64,
    /// Entries that were dropped since too many waited.
    pub(super) dropped_backlog: u64,
    /// Entries that were dropped since they were not taken for too long.
    pub(super) dropped_age: u64,
}

impl Counts {
    /// As Prometheus reads it.
    pub(super) fn text(self, waiting: usize) -> String {
        let Self { sent, folded, dropped_backlog, dropped_age } = self;
        format!(
            "# HELP hallmark_notify_sent_total Messages that the webhook took.\n\
             # TYPE hallmark_notify_sent_total counter\n\
             hallmark_notify_sent_total {sent}\n\
             # HELP hallmark_notify_folded_total Alarms that went with the message of an earlier one.\n\
             # TYPE hallmark_notify_folded_total counter\n\
             hallmark_notify_folded_total {folded}\n\
             # HELP hallmark_notify_dropped_total Entries that were dropped and not sent.\n\
             # TYPE hallmark_notify_dropped_total counter\n\
             hallmark_notify_dropped_total{{reason=\"age\"}} {dropped_age}\n\
             hallmark_notify_dropped_total{{reason=\"backlog\"}} {dropped_backlog}\n\
             # HELP hallmark_notify_waiting Messages that wait to be sent.\n\
             # TYPE hallmark_notify_waiting gauge\n\
             hallmark_notify_waiting {waiting}\n"
        )
    }
}
