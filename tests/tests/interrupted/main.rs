//! A rotation that is interrupted at every step, by every fault: it goes on, with one active epoch, the right keys in the token, the same
//! CA certificates, and a log that verifies.

mod cells;
mod checks;
mod live;

use cells::{Fault, STEPS, cells};
use live::Live;

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_interrupted_at_any_step_by_any_fault_goes_on() {
    let mut filled = Vec::new();
    let mut live = Live::new().await;
    for cell in cells().iter().filter(|cell| cell.fault != Fault::Killed) {
        filled.push((cell.step, cell.fault, live.fill(cell).await));
    }
    live.finish().await;
    print(&filled);
}

/// The table: in which states rotations were caught, before they went on.
fn print(filled: &[(usize, Fault, String)]) {
    let of = |step: usize, fault: Fault| {
        let caught =
            filled.iter().filter(|(at, by, _)| (*at, *by) == (step, fault)).map(|(_, _, caught)| caught.as_str());
        let caught: Vec<_> = caught.collect();
        if caught.is_empty() { "-".to_owned() } else { caught.join("; ") }
    };
    println!("| step | {} |", Fault::ALL.map(Fault::name).join(" | "));
    for (step, name) in STEPS.into_iter().enumerate() {
        println!("| {name} | {} |", Fault::ALL.map(|fault| of(step, fault)).join(" | "));
    }
}
