//! A rotation that is interrupted at every step, by every fault: it goes on, with one active epoch, the right keys in the token, the same
//! CA certificates, and a log that verifies.

mod cells;
mod checks;
mod killed;
mod live;
mod replaced;

use cells::{Cell, Fault, STEPS, cells, cells_by_age, cells_of_root};
use hallmark_tests::example_policy;

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_interrupted_at_any_step_by_any_fault_goes_on() {
    let (killed, live): (Vec<Cell>, Vec<Cell>) = cells().into_iter().partition(|cell| cell.fault == Fault::Killed);
    let (while_killed, while_live) = tokio::join!(killed::by_manifest(&killed), live::all(&live));
    let caught = while_killed.into_iter().chain(while_live);
    print(
        &killed
            .iter()
            .chain(&live)
            .zip(caught)
            .map(|(cell, caught)| (cell.step, cell.fault, caught))
            .collect::<Vec<_>>(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_by_age_that_is_killed_at_any_step_goes_on() {
    killed::by_age(&destroying(), &cells_by_age()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_killed_in_the_making_is_made_once() {
    killed::while_made(&destroying(), &cells_of_root()).await;
}

/// The example policy, whose retired keys are destroyed at once.
fn destroying() -> String {
    let head = "[authority.athenz.root]";
    example_policy().replacen(head, &format!("[authority.athenz]\nretired-key = \"destroy\"\n\n{head}"), 1)
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
