//! Entries of the decision log: how they are written, and how auditors read them.
