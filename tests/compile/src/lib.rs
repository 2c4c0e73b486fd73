//! Nothing: the proofs are in `tests/`, and what they compile in `cases/`.
